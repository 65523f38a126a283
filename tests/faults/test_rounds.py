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


def test_the_embedded_set_up(collector_of, story, rounds):
    server = collector_of().start()
    settings = {"uplink.url": server.url, "uplink.key_file": server.create_key()}
    played = story(settings, seed=rounds)
    played.victims["collector"] = lambda: restart(server)
    played.play(rounds)
    played.check(server)
