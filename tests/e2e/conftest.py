"""Fixtures: a real collector on a database of its own, a sensor's key, a logged-in admin."""

import importlib
import os
import sys

import pytest
import support

pytest.register_assert_rewrite("apiclient", "searching")
sys.path.append(str(support.ROOT / "tests/support"))
services = importlib.import_module("services")  # it needs the path from above
globals().update(services.FIXTURES)


def pytest_configure(config):
    config.addinivalue_line("markers", "services: wants a real Kafka, PostgreSQL, Redis or search")
    config.addinivalue_line("markers", "sqlite: about the embedded database alone")


def pytest_collection_modifyitems(items):
    services.mark(items)
    if os.environ.get("WIND_TEST_DB") == "postgres":
        items[:] = [item for item in items if item.get_closest_marker("sqlite") is None]


@pytest.fixture(scope="session", autouse=True)
def store(request):
    """WIND_TEST_DB=postgres: the collectors of all tests keep their things there."""
    if os.environ.get("WIND_TEST_DB") == "postgres":
        servers = request.getfixturevalue("servers")
        support.server = servers.get(services.Postgres, "postgres")


@pytest.fixture
def collector(tmp_path):
    made = support.Collector(tmp_path).start()
    yield made
    if made.process.is_running:
        assert made.stop() == 0, made.process.log
    else:
        made.kill()


@pytest.fixture
def sensor_key(collector):
    return collector.create_key()


@pytest.fixture
def replayed(collector, sensor_key, tmp_path):
    """The collector after the committed recording went through a sensor."""
    out = tmp_path / "sensor"
    done = support.run(
        "wind-sensor", *support.sensor_args(collector, sensor_key, out), "--run-id", "e2e"
    )
    assert done.returncode == 0, done.stderr
    collector.sensor_out = out
    return collector


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One collector for all tests of a file that leave it as they found it, or do not care."""
    made = support.Collector(
        tmp_path_factory.mktemp("shared"), api__rate="0", auth__login_rate="100000"
    ).start()
    yield made
    assert made.stop() == 0, made.process.log


@pytest.fixture
def link():
    """A cable between two network namespaces. Needs root."""
    from live import Link  # it needs the path from above

    made = Link()
    yield made
    made.close()
