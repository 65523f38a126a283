"""The sensor's side of Kafka: alerts once they are confirmed, flows as they come, and the books."""

import collections
import contextlib
import csv
import json
import os
import signal
import time

import kafka_strict
import pytest
import support
from books import balance
from test_kill import children

OFTEN = {  # what takes minutes outside takes a second here
    "reconnect.backoff.max.ms": 200,
    "topic.metadata.propagation.max.ms": 1000,
    "retry.backoff.ms": 50,
    "socket.timeout.ms": 1000,
}


class Run:
    """A replay of the committed recording into topics of its own."""

    def __init__(self, kafka, folder, prefix=None):
        self.kafka, self.folder = kafka, folder
        self.prefix = prefix or kafka.topic("wind") + "."
        self.options, self.more = {}, {}

    def args(self, *more, options=None, **settings):
        options = OFTEN | self.options | (options or {})
        values = {
            "sensor.name": "edge",
            "kafka.brokers": self.kafka.brokers,
            "kafka.prefix": self.prefix,
            "uplink.drain": "2m",  # a broker takes a while to start on a busy machine
            "kafka.options": ",".join(f"{k}={v}" for k, v in options.items()),
            **self.more,
            **{name.replace("__", "."): value for name, value in settings.items()},
        }
        return ["-r", support.CAPTURE, "-l", self.folder, *support.settings(values), *more]

    def replay(self, *more, **settings):
        done = support.run("wind-sensor", *self.args(*more, **settings))
        assert done.returncode == 0, done.stderr
        return done

    def start(self, *more, **settings):
        return support.Process(
            "wind-sensor",
            *self.args("--run-id", "kafka", *more, **settings),
            log=self.folder.with_suffix(".log"),
        )

    def topic(self, name):
        return self.prefix + name

    def messages(self, name):
        found = self.kafka.consume(self.topic(name))
        for message in found:
            message["value"] = json.loads(message["payload"])
            assert message["headers"]["schema"] == "1"
            assert message["headers"]["sensor"] == "edge"
        return found

    @property
    def has_begun(self):
        topic = self.topic("alerts")
        return self.kafka.partitions(topic) and self.kafka.consume(topic)

    @property
    def told(self):
        """What eve.json says: (uid, rev) of all alerts and revisions, in their order."""
        alerts = [a["wind"] for a in support.eve(self.folder) if a["event_type"] == "alert"]
        return [(alert["uid"], alert["rev"]) for alert in alerts]

    @property
    def stats(self):
        return support.eve(self.folder)[-1]["stats"]


def numbers(messages):
    """seq -> value, each once; the same number is the same message."""
    found = {}
    for message in messages:
        seq = int(message["headers"]["seq"])
        assert found.setdefault(seq, message["value"]) == message["value"], f"seq {seq} is two"
    return found


def check_alerts(run, first=0):
    """All that was told is there, under numbers without a gap, and the books balance."""
    messages = run.messages("alerts")
    found = numbers(messages)
    assert sorted(found) == list(range(first, first + len(run.told)))
    assert [(v["wind"]["uid"], v["wind"]["rev"]) for _, v in sorted(found.items())] == run.told
    assert len({m["headers"]["run"] for m in messages}) == 1
    balance(run.stats)
    alert = run.stats["alert"]
    assert alert["delivered"] == alert["published"] == len(run.told) > 10
    return messages


@pytest.fixture
def run(kafka, tmp_path):
    return Run(kafka, tmp_path / "sensor")


def test_every_alert_is_there_once_with_its_headers(run):
    run.replay()
    messages = check_alerts(run)
    assert len(messages) == len(run.told), "nothing is sent twice when nothing breaks"
    for message in messages:
        assert message["key"] == message["value"]["wind"]["entities"][0]["value"]
    lines = [a for a in support.eve(run.folder) if a["event_type"] == "alert"]
    assert [v for _, v in sorted(numbers(messages).items())] == lines
    partitions = {(m["key"], m["partition"]) for m in messages}
    assert len(partitions) == len({m["key"] for m in messages}), "an entity has one partition"


def test_the_next_run_counts_on_and_a_new_spool_counts_anew(run, tmp_path):
    run.replay("--run-id", "one")
    first = run.told
    run.replay("--run-id", "two")
    messages = run.messages("alerts")
    assert sorted(numbers(messages)) == list(range(len(first) + len(run.told)))
    runs = {m["headers"]["run"] for m in messages}
    assert len(runs) == 1
    other = Run(run.kafka, tmp_path / "other", run.prefix)
    other.replay("--run-id", "three")
    new = [m for m in other.messages("alerts") if m["headers"]["run"] not in runs]
    assert sorted(numbers(new)) == list(range(len(other.told)))


def test_signs_of_life(run):
    run.replay()
    first, *_, last = run.messages("health")
    assert {m["key"] for m in (first, last)} == {"edge"}
    assert int(first["headers"]["seq"]) == 0
    assert last["value"]["event_type"] == "stats"
    assert last["value"]["host"] == "edge"
    assert last["value"]["wind"]["version"]
    assert last["value"]["stats"]["alert"]["delivered"] == len(run.told)


def rows(path):
    """The CSV of --features: its schema; (community_id, src_ip) -> rows of values as texts."""
    found = collections.defaultdict(list)
    with open(path, encoding="utf-8") as file:
        schema = file.readline().split()[-1]
        for row in list(csv.reader(file))[1:]:
            found[row[0], row[1]].append(row[7:])
    return schema, found


def test_flows_go_with_the_features_of_the_training_export(run, tmp_path):
    # a replay waits for room
    run.replay("--features", tmp_path / "features.csv", kafka__flows="all", kafka__queue="1mb")
    flows = [f for f in support.eve(run.folder) if f["event_type"] == "flow"]
    messages = run.messages("flows")
    found = numbers(messages)
    assert sorted(found) == list(range(len(flows)))
    balance(run.stats)
    assert run.stats["kafka"]["flows_delivered"] == len(flows) > 2000
    schema, expected = rows(tmp_path / "features.csv")
    for (_, value), line in zip(sorted(found.items()), flows, strict=True):
        assert value["wind"].pop("schema") == schema
        features = value["wind"].pop("features")
        assert value == line
        rows_of = expected[line["community_id"], line["src_ip"]]
        assert any(same_numbers(features, row) for row in rows_of), (line, features)
    for message in messages:
        low, high = message["key"].split(" ")
        assert {low, high} == {message["value"]["src_ip"], message["value"]["dest_ip"]}


def same_numbers(features, texts):
    if len(features) != len(texts):
        return False
    pairs = zip(features, texts, strict=True)
    return all(
        (f is None) == (t == "") and (f is None or abs(f - float(t)) <= 1e-6 * abs(f))
        for f, t in pairs
    )


def test_flows_of_alerts_alone_or_with_a_sample(run, tmp_path):
    run.replay(kafka__flows="alerted")
    flows = [f for f in support.eve(run.folder) if f["event_type"] == "flow"]
    alerted = {f["flow_id"] for f in flows if f["flow"]["alerted"]}
    assert {m["value"]["flow_id"] for m in run.messages("flows")} == alerted
    assert 0 < len(alerted) < len(flows)
    sampled = []
    for i in range(2):
        other = Run(run.kafka, tmp_path / f"sampled{i}")
        other.replay(kafka__flows="sampled", kafka__flow_sample="10")
        sampled.append({m["value"]["flow_id"] for m in other.messages("flows")})
    assert sampled[0] == sampled[1] > alerted, "the same sample each time"
    others = len(flows) - len(alerted)
    assert others / 20 < len(sampled[0] - alerted) < others / 5


def test_the_broker_killed_and_started_in_mid_run(run, kafka):
    sensor = run.start("--speed", "40", kafka__flows="all")
    support.until("it has begun", lambda: (run.folder / "eve.json").exists())
    time.sleep(1)
    kafka.kill()
    support.until("it is said", lambda: "Kafka cannot be reached" in sensor.log)
    kafka.start()
    assert sensor.wait() == 0, sensor.log
    check_alerts(run)
    assert sensor.log.count("cannot be reached") == 1, "once a trouble, not once an attempt"
    assert sensor.log.count("takes alerts again") == 1
    stats = run.stats["kafka"]
    assert stats["flows_waiting"] == 0
    assert len(numbers(run.messages("flows"))) >= stats["flows_delivered"]


def test_the_uplink_killed_in_mid_run(run):
    sensor = run.start("--speed", "60", kafka__flows="all")
    support.until("it has begun", lambda: (run.folder / "eve.json").exists())
    for _ in range(4):
        time.sleep(0.8)
        pid = children(sensor.popen.pid).get("wind-uplink")
        if pid:
            os.kill(pid, signal.SIGKILL)
    assert sensor.wait() == 0, sensor.log
    check_alerts(run)
    found = numbers(run.messages("flows"))
    flows = [f for f in support.eve(run.folder) if f["event_type"] == "flow"]
    assert run.stats["kafka"]["flows"] == len(flows)
    assert set(found) <= set(range(len(flows)))
    assert run.stats["kafka"]["flows_delivered"] <= len(found)


def test_a_broker_that_is_away_for_longer_than_librdkafka_waits(run, kafka):
    """Given up again and again, and sent again from the spool."""
    kafka.pause()
    sensor = run.start("--speed", "120", options={"message.timeout.ms": 500}, uplink__drain="2m")
    support.until("it is said", lambda: "alerts wait in the spool" in sensor.log)
    time.sleep(6)
    kafka.resume()
    assert sensor.wait() == 0, sensor.log
    messages = check_alerts(run)
    assert len(messages) < 3 * len(run.told), "what was given up is seldom there all the same"
    assert "takes alerts again" in sensor.log


def test_one_broker_of_three_dies(kafka_cluster, tmp_path):
    run = Run(kafka_cluster, tmp_path / "sensor")
    sensor = run.start("--speed", "40", kafka__flows="alerted")
    support.until("alerts are there", lambda: run.has_begun)
    kafka_cluster.kill("2")
    time.sleep(2)
    kafka_cluster.start()
    assert sensor.wait() == 0, sensor.log
    check_alerts(run)


def test_what_a_run_left_the_next_one_sends_first(run, kafka):
    kafka.pause()
    left = run.replay("--run-id", "away", uplink__drain="500ms")
    assert "left in the spool" in left.stderr
    first = run.told
    balance(run.stats)
    assert run.stats["alert"]["spooled"] == len(first)
    kafka.resume()
    run.replay("--run-id", "back")
    found = numbers(run.messages("alerts"))
    assert sorted(found) == list(range(len(first) + len(run.told)))
    both = [(v["wind"]["uid"], v["wind"]["rev"]) for _, v in sorted(found.items())]
    assert both == first + run.told


def test_a_broker_whose_name_nobody_knows_holds_up_nothing(run):
    began = time.monotonic()
    done = run.replay(
        options={"security.protocol": "plaintext"},
        kafka__brokers="kafka.invalid:9092",
        kafka__flows="all",
        uplink__drain="1s",
    )
    assert time.monotonic() - began < 20
    assert "Kafka cannot be reached: kafka.invalid:9092" in done.stderr
    assert len(support.eve(run.folder)) > 2000
    balance(run.stats)
    assert run.stats["alert"]["spooled"] == len(run.told)


def test_nothing_but_flows_is_lost_when_their_queue_is_full(run, kafka):
    kafka.pause()
    run.replay(kafka__flows="all", kafka__queue="1mb", uplink__drain="500ms")
    balance(run.stats)
    stats = run.stats["kafka"]
    assert stats["flows_dropped"] > 1000
    assert 0 < stats["flows_waiting"] < 1400
    assert run.stats["alert"]["spooled"] == len(run.told)


# ---------------------------------------------------------------- a broker that asks for more
strict_kafka = kafka_strict.strict_kafka


@pytest.fixture
def tls_run(strict_kafka, tmp_path):
    """A run that has to show its password. The topics are there."""
    run = Run(strict_kafka, tmp_path / "sensor")
    for name in ("alerts", "health"):
        strict_kafka.create_topic(run.topic(name))
    secret = tmp_path / "password"
    secret.touch(mode=0o600)
    run.more = {
        "kafka.brokers": strict_kafka.tls_brokers,
        "kafka.password_file": secret,
        "uplink.drain": "20s",
    }
    run.options = {
        "security.protocol": "SASL_SSL",
        "sasl.mechanisms": "PLAIN",
        "sasl.username": "edge",
        "ssl.ca.location": strict_kafka.certificate,
    }
    return run


def test_a_password_and_a_certificate(tls_run, tmp_path):
    (tmp_path / "password").write_text(kafka_strict.PASSWORD + "\n")
    done = tls_run.replay()
    check_alerts(tls_run)
    assert kafka_strict.PASSWORD not in done.stderr + done.stdout


def test_a_wrong_password_is_said_and_nothing_is_lost(tls_run, tmp_path):
    (tmp_path / "password").write_text("hunter2\n")
    from_ns = time.monotonic()
    done = tls_run.replay()
    assert time.monotonic() - from_ns < 15, "waiting would not help"
    assert done.stderr.count("Authentication failed") == 1
    assert "kafka.password_file" in done.stderr
    assert "hunter2" not in done.stderr
    balance(tls_run.stats)
    assert tls_run.stats["alert"]["spooled"] == len(tls_run.told)
    (tmp_path / "password").write_text(kafka_strict.PASSWORD + "\n")
    first = tls_run.told
    tls_run.replay("--run-id", "right")
    assert len(numbers(tls_run.messages("alerts"))) == len(first) + len(tls_run.told)


def test_a_certificate_that_nobody_vouches_for_is_not_believed(tls_run, tmp_path):
    (tmp_path / "password").write_text(kafka_strict.PASSWORD + "\n")
    del tls_run.options["ssl.ca.location"]
    done = tls_run.replay()
    assert "certificate verify failed" in done.stderr
    assert tls_run.stats["alert"]["spooled"] == len(tls_run.told)
    assert tls_run.messages("alerts") == []


def test_a_topic_that_is_missing_and_made_later(strict_kafka, tmp_path):
    run = Run(strict_kafka, tmp_path / "sensor")
    sensor = run.start("--speed", "60", uplink__drain="2m")
    says = f"has no topic '{run.topic('alerts')}': make it"
    support.until("it says what to do", lambda: says in sensor.log)
    time.sleep(3)
    assert sensor.log.count(says) == 1
    strict_kafka.create_topic(run.topic("alerts"))
    strict_kafka.create_topic(run.topic("health"))
    assert sensor.wait() == 0, sensor.log
    check_alerts(run)


def test_a_topic_made_anew_with_fewer_partitions(strict_kafka, tmp_path):
    run = Run(strict_kafka, tmp_path / "sensor")
    for name in ("alerts", "health"):
        strict_kafka.create_topic(run.topic(name), partitions=6)
    sensor = run.start("--speed", "40", uplink__drain="2m")
    support.until("alerts are there", lambda: run.has_begun)
    before = {int(m["headers"]["seq"]) for m in run.messages("alerts")}
    strict_kafka.delete_topic(run.topic("alerts"))
    with contextlib.suppress(AssertionError):  # it may take a moment until it is gone
        strict_kafka.create_topic(run.topic("alerts"), partitions=1)
    support.until("it is there", lambda: is_made(strict_kafka, run.topic("alerts")))
    assert sensor.wait() == 0, sensor.log
    balance(run.stats)
    assert run.stats["alert"]["delivered"] == len(run.told)
    after = {int(m["headers"]["seq"]) for m in run.messages("alerts")}
    assert before | after >= set(range(max(after))), "what was deleted was confirmed before"
    assert max(after) == len(run.told) - 1


def is_made(kafka, topic):
    with contextlib.suppress(AssertionError):
        kafka.create_topic(topic, partitions=1)
    return kafka.partitions(topic) == 1


PLAIN = {"compression.type": "none"}  # some alerts are smaller than the topic allows, some larger


def test_alerts_that_the_topic_refuses_for_good_are_counted(run, kafka):
    kafka.create_topic(run.topic("alerts"), max_message_bytes=2000)
    done = run.replay(options=PLAIN)
    balance(run.stats)
    alert = run.stats["alert"]
    assert alert["rejected"] > 0 and alert["delivered"] > 0, alert
    assert alert["rejected"] + alert["delivered"] == alert["published"]
    assert len(numbers(run.messages("alerts"))) == alert["delivered"]
    assert "refused an alert" in done.stderr


def test_a_producer_beyond_repair_is_replaced(run, kafka):
    """With this option librdkafka ends where a message would be missing in the sequence."""
    kafka.create_topic(run.topic("alerts"), max_message_bytes=2000)
    done = run.replay(options=PLAIN | {"enable.gapless.guarantee": "true"}, uplink__drain="2m")
    assert "going on with a new one" in done.stderr
    balance(run.stats)
    alert = run.stats["alert"]
    assert alert["rejected"] > 0 and alert["delivered"] > 0, alert
    assert alert["rejected"] + alert["delivered"] == alert["published"]
    assert len(numbers(run.messages("alerts"))) == alert["delivered"]


# ---------------------------------------------------------------- settings
@pytest.mark.parametrize(
    "settings, says",
    [
        ({"kafka.options": "linger=5"}, "kafka.options: 'linger' is no property of librdkafka"),
        ({"kafka.options": "acks=1"}, "kafka.options: 'acks' can't be changed"),
        ({"kafka.options": "sasl.password=x"}, "kafka.password_file"),
        ({"kafka.options": "security.protocol=ssl,ssl.ca.location=/none"}, "ssl.ca.location"),
        ({"kafka.options": "linger.ms=soon"}, "linger.ms"),
        ({"kafka.password_file": "/none"}, "kafka.password_file: /none"),
        ({"kafka.brokers": "a:1,,b:1"}, "kafka.brokers"),
        ({"kafka.flows": "some"}, "kafka.flows"),
        ({"uplink.url": "https://a:8443"}, "uplink.url and kafka.brokers are both set"),
    ],
)
def test_wrong_settings_are_named(settings, says):
    values = {"kafka.brokers": "127.0.0.1:9", **settings}
    done = support.run("wind-sensor", "-T", *support.settings(values))
    assert done.returncode == 3
    assert says in done.stderr, done.stderr


def test_right_settings_are_right():
    values = {
        "kafka.brokers": "a.example:9093,[::1]:9093",
        "kafka.options": "security.protocol=sasl_ssl,sasl.mechanisms=SCRAM-SHA-512,sasl.username=a,"
        "compression.type=zstd,linger.ms=50",
        "kafka.password_file": "/dev/stdin",
    }
    done = support.run("wind-sensor", "-T", *support.settings(values), input="secret\n")
    assert done.returncode == 0, done.stderr
    assert "secret" not in done.stdout + done.stderr
