"""Whatever is killed, whenever: nothing is lost, nothing comes twice, the books balance."""

import pytest
from story import Story


@pytest.fixture
def story(tmp_path):
    made = []

    def make(sensor_settings, seed):
        made.append(Story(tmp_path, sensor_settings, seed))
        return made[-1]

    yield make
    for one in made:
        one.end()


def restart(collector):
    collector.kill()
    collector.start()


def test_the_full_set_up(kafka, postgres, database, redis, bus_of, collector_of, story, rounds):
    """Two collectors behind Kafka, on PostgreSQL, with Redis between them."""
    bus = bus_of(kafka)
    shared = bus.collector | {"db__url": database, "cache__url": redis.url}
    pair = [collector_of("first", **shared).start(), collector_of("second", **shared)]
    pair[1].password = pair[0].password
    pair[1].start()
    played = story(bus.sensor, seed=rounds)
    for server in pair:
        played.victims[server.folder.name] = lambda server=server: restart(server)
    played.add_server("broker", kafka)
    played.add_server("postgres", postgres)
    played.play(rounds)
    for server in pair:
        played.check(server)


def test_the_embedded_set_up(collector_of, story, rounds):
    server = collector_of().start()
    settings = {"uplink.url": server.url, "uplink.key_file": server.create_key()}
    played = story(settings, seed=rounds)
    played.victims["collector"] = lambda: restart(server)
    played.play(rounds)
    played.check(server)
