"""Flows from the sensor through Kafka into a search server, each once."""

import os
import time

import bus as bus_module
import pytest
import support
from bus import metrics

FLOWS = {"search__index": "flows", "search__flows": "yes"}


@pytest.fixture
def bus(kafka):
    return bus_module.Bus(kafka).create(words=("alerts", "health", "flows", "dlq"))


def replay(bus, folder):
    done = support.run(
        "wind-sensor", "-q", "-r", support.CAPTURE, "-l", folder,
        *support.settings({
            "sensor.name": "edge",
            "kafka.brokers": bus.kafka.brokers,
            "kafka.prefix": bus.prefix,
            "kafka.flows": "all",
        }),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [e for e in support.eve(folder) if e["event_type"] == "flow"]


@pytest.fixture
def collector(bus, opensearch, tmp_path):
    made = []

    def go():
        if not made:
            (tmp_path / "collector").mkdir()
            settings = bus.settings | FLOWS | {"search__url": opensearch.url}
            made.append(support.Collector(tmp_path / "collector", **settings))
        return made[0].start()

    yield go
    if made and made[0].process.is_running:
        assert made[0].stop() == 0, made[0].process.log


def found(server, body=None):
    server.request("POST", "/flows-flows/_refresh?ignore_unavailable=true")
    path = "/flows-flows/_search?ignore_unavailable=true&allow_no_indices=true"
    wanted = {"track_total_hits": True, "size": 1} | (body or {})
    status, answer = server.request("POST", path, wanted)
    if status != 200 or "hits" not in answer:
        return 0, []
    return answer["hits"]["total"]["value"], answer["hits"]["hits"]


def balance(one):
    m = metrics(one)
    ended = sum(
        m[f'wind_flow_index_flows_total{{outcome="{o}"}}']
        for o in ("indexed", "refused", "unreadable", "returned")
    )
    assert m["wind_flow_index_fetched_total"] == ended + m["wind_flow_index_in_hand"], m
    return m


def test_every_flow_is_found_by_its_ecs_names(bus, collector, opensearch, tmp_path):
    flows = replay(bus, tmp_path / "out")
    one = collector()
    with bus.producer() as p:
        p.put(bus.topic("flows"), "not JSON", "x", {"sensor": "edge"})
    support.until("flows are indexed", lambda: found(opensearch)[0] >= len(flows), seconds=60)
    assert found(opensearch)[0] == len(flows)
    support.until(
        "the other is counted",
        lambda: metrics(one)['wind_flow_index_flows_total{outcome="unreadable"}'] == 1,
        seconds=30,
    )
    balance(one)
    for name, value, ours in (
        ("source.ip", "10.20.0.66", lambda f: f["src_ip"] == "10.20.0.66"),
        ("destination.ip", "10.20.0.0/24", lambda f: f["dest_ip"].startswith("10.20.0.")),
        ("network.transport", "udp", lambda f: f["proto"] == "UDP"),
        ("wind.alerted", True, lambda f: f["flow"]["alerted"]),
    ):
        assert found(opensearch, {"query": {"term": {name: value}}})[0] == sum(map(ours, flows)), (
            name
        )
    hit = found(opensearch)[1][0]["_source"]
    assert hit["observer"]["name"] == "edge" and '"features":' in hit["event"]["original"]


def test_killed_and_without_a_server_each_flow_is_there_once(bus, collector, opensearch, tmp_path):
    flows = replay(bus, tmp_path / "out")
    opensearch.kill()
    one = collector()
    support.until(
        "a failure is counted",
        lambda: metrics(one)["wind_flow_index_failures_total"] > 0,
        seconds=60,
    )
    one.kill()
    opensearch.start()
    one = collector()
    support.until("flows are indexed", lambda: found(opensearch)[0] > 0, seconds=60)
    one.kill()
    collector()
    support.until("flows are indexed", lambda: found(opensearch)[0] >= len(flows), seconds=60)
    time.sleep(1)
    assert found(opensearch)[0] == len(flows)


def test_it_needs_both_and_says_so():
    done = support.run("wind-collector", "-T", "--set", "search.flows=yes", env=dict(os.environ))
    assert done.returncode == 3 and "kafka.brokers and search.url" in done.stderr
