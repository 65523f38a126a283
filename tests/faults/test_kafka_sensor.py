"""The sensor's side of Kafka: whatever happens to broker, topic and uplink, each alert that was
told is in the topic, under the number after the one before."""

import json
import time

import pytest
import support
from story import Sensor


class Topic:
    def __init__(self, kafka):
        self.kafka, self.prefix = kafka, kafka.prefix()
        self.name = self.prefix + "alerts"
        self.settings = {"kafka.brokers": kafka.brokers, "kafka.prefix": self.prefix}

    @property
    def messages(self):
        return self.kafka.consume(self.name)

    def has_all_of(self, sensor):
        messages = self.messages
        last = {}
        for message in messages:
            alert = json.loads(message["payload"])["wind"]
            last[alert["uid"]] = max((alert["rev"], alert["count"]), last.get(alert["uid"], (0, 0)))
        assert len(last) >= 3 and last == sensor.told
        runs = {}
        for message in messages:
            assert message["headers"]["schema"] == "1"
            assert message["headers"]["sensor"] == sensor.name
            runs.setdefault(message["headers"]["run"], set()).add(int(message["headers"]["seq"]))
        assert len(runs) == 1
        numbers = runs.popitem()[1]
        assert numbers == set(range(min(numbers), max(numbers) + 1)), "a gap in the numbers"
        return messages


@pytest.fixture
def topic(kafka):
    return Topic(kafka)


@pytest.fixture
def sensor(tmp_path):
    made = []

    def make(topic, name="edge", options="", **more):
        settings = topic.settings | ({"kafka.options": options} if options else {})
        made.append(Sensor(tmp_path / name, name, settings, **more))
        return made[-1]

    yield make
    for one in made:
        if one.process.is_running:
            one.process.stop(9)


@pytest.mark.parametrize("how", ["kill", "pause"])
def test_a_broker_that_is_away_for_longer_than_a_message_may_wait(kafka, topic, sensor, how):
    edge = sensor(topic, options="message.timeout.ms=2000", speed=60)
    support.until("something is there", lambda: kafka.partitions(topic.name) and topic.messages)
    getattr(kafka, how)()
    time.sleep(8)
    assert edge.process.is_running, edge.process.log
    kafka.well()
    edge.wait()
    topic.has_all_of(edge)


def test_a_broker_that_is_not_there_when_the_sensor_starts(kafka, topic, sensor):
    kafka.kill()
    edge = sensor(topic, options="message.timeout.ms=1000")
    time.sleep(6)
    assert edge.process.is_running, edge.process.log
    kafka.start()
    edge.wait()
    topic.has_all_of(edge)


def test_an_uplink_that_dies_between_broker_and_spool(kafka, topic, sensor):
    edge = sensor(topic, speed=40)
    for _ in range(5):
        time.sleep(0.8)
        edge.kill("uplink")
    edge.wait()
    topic.has_all_of(edge)


def test_a_topic_that_is_created_late(kafka, topic, sensor):
    """The broker makes none by itself, as in production."""
    kafka.extra(auto_create_topics_enable="false")
    kafka.stop()
    kafka.start()
    try:
        edge = sensor(
            topic, options="message.timeout.ms=1000,topic.metadata.propagation.max.ms=500"
        )
        time.sleep(6)
        assert edge.process.is_running, edge.process.log
        assert "alerts" in edge.process.log, "which topic is missing is said"
        kafka.create_topic(topic.name, partitions=2)
        edge.wait()
        assert {m["partition"] for m in topic.has_all_of(edge)} <= {0, 1}
    finally:
        kafka.extra()
        kafka.stop()
        kafka.start()


def test_a_topic_that_comes_back_with_fewer_partitions(kafka, topic, sensor):
    """What was in the old topic went with it; nothing is stuck, and what comes later arrives."""
    kafka.create_topic(topic.name, partitions=6)
    first = sensor(topic, "edge")
    first.wait()
    topic.has_all_of(first)
    later = sensor(topic, "edge-2", speed=30)
    time.sleep(1)
    kafka.delete_topic(topic.name)
    kafka.create_topic(topic.name, partitions=1)
    later.wait()
    last = sensor(topic, "edge-3")
    last.wait()
    uids = {json.loads(m["payload"])["wind"]["uid"] for m in topic.messages}
    assert last.told.keys() <= uids


def test_one_broker_of_three_dies(kafka_cluster, sensor):
    topic = Topic(kafka_cluster)
    edge = sensor(topic, speed=40)
    for broker in ("1", "2", "3"):
        time.sleep(1)
        kafka_cluster.kill(broker)
        kafka_cluster.start()
    edge.wait()
    topic.has_all_of(edge)
