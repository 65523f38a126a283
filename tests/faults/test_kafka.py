"""Kafka between sensor and collectors: who starts before whom.

What else can happen there is in tests/e2e/test_sensor_kafka.py and test_bus.py.
"""

import support
from story import arrives


def test_sensor_and_collector_start_before_the_broker(kafka, bus_of, collector_of, sensor_of):
    bus = bus_of(kafka)
    kafka.kill()
    server = collector_of(**bus.collector).start()
    edge = sensor_of(bus.sensor | {"kafka.options": "message.timeout.ms=1000"}, speed=60)
    support.until("the sensor notices", lambda: "cannot" in edge.process.log)
    assert server.call("GET", "/healthz", token="").status == 200
    kafka.start()
    edge.wait()
    arrives(server, edge)
