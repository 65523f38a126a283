"""What tests of the collector's side of the bus share: alerts as sensors send them to Kafka, and
the collector's books about them."""

import json
import re
import uuid

import kafka_produce

OUTCOMES = ("stored", "updated", "known", "dlq", "returned")


def alert(n, rev=1, entity=None, **more):
    """An alert as a sensor sends it; `n` makes the uid."""
    entity = entity or f"10.9.{n % 40}.66"
    at = "2026-03-01T00:00:00Z"
    return {
        "timestamp": at.replace("Z", ".000000+0000"),
        "event_type": "alert",
        "flow_id": 7,
        "src_ip": entity,
        "src_port": 4242,
        "dest_ip": "10.9.0.5",
        "dest_port": 22,
        "proto": "TCP",
        "alert": {"signature": f"{entity} tried ports", "category": "Network scan"},
        "wind": {
            "uid": f"0198f2c4-7a31-7c5e-9d2b-{n:012x}",
            "rev": rev,
            "detector": "port_scan",
            "severity": "high",
            "score": 0.9,
            "count": 10,
            "first_seen": at,
            "last_seen": at,
            "entities": [{"kind": "host", "value": entity, "role": "attacker"}],
            "explain": [{"name": "distinct_ports", "text": "many", "value": 10}],
        },
    } | more


def headers(seq, sensor="edge", run="run-1", **more):
    """None leaves one out."""
    said = {"schema": "1", "sensor": sensor, "run": run, "seq": str(seq)} | more
    return {name: text for name, text in said.items() if text is not None}


class Bus:
    """The topics of one test, which nobody else uses."""

    def __init__(self, kafka):
        self.kafka = kafka
        self.prefix = f"t{uuid.uuid4().hex[:8]}."

    def topic(self, word):
        return self.prefix + word

    def create(self, partitions=3, words=("alerts", "health", "dlq"), **config):
        for word in words:
            self.kafka.create_topic(self.topic(word), partitions, **config)
        return self

    @property
    def settings(self):
        return {
            "kafka__brokers": self.kafka.brokers,
            "kafka__prefix": self.prefix,
            "kafka__group": self.prefix + "group",
        }

    def producer(self, **settings):
        return kafka_produce.Producer(self.kafka.brokers, **settings)

    def send(self, numbers, **more):
        """Alerts of these numbers, which are their seq too."""
        with self.producer() as p:
            for n in numbers:
                value = alert(n)
                key = value["wind"]["entities"][0]["value"]
                p.put(self.topic("alerts"), json.dumps(value), key, headers(n, **more))

    def dead(self):
        return self.kafka.consume(self.topic("dlq"))


def metrics(collector):
    """{"wind_bus_x{a=\\"b\\"}": number}"""
    text = collector.call("GET", "/metrics", token="").text
    found = re.findall(r"^(wind_\S+(?:\{[^}]*\})?) (\S+)$", text, re.MULTILINE)
    return {name: float(number) for name, number in found}


def outcomes(collector, topic="alerts"):
    """{"stored": n, ...}, and what was fetched and is in hand."""
    m = metrics(collector)
    found = {o: m[f'wind_bus_messages_total{{topic="{topic}",outcome="{o}"}}'] for o in OUTCOMES}
    return found | {"fetched": m[f'wind_bus_fetched_total{{topic="{topic}"}}']}


def balance(collector):
    """Every message that was fetched has ended in exactly one counter."""
    m = metrics(collector)
    fetched = ended = 0
    for topic in ("alerts", "health"):
        books = outcomes(collector, topic)
        fetched += books.pop("fetched")
        ended += sum(books.values())
    assert fetched == ended + m["wind_bus_in_hand"], m
