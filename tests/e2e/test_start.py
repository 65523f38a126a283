"""Programs start, end, and say what is wrong with the way they were called."""

import pytest
import support


def test_a_collector_starts_once_with_a_password_and_again_without(collector):
    assert collector.token()
    assert collector.stop() == 0
    (collector.folder / "collector.log").unlink()
    collector.start()
    assert "admin password" not in collector.process.log
    me = collector.call("GET", "/api/auth/me")
    assert (me.status, me.json["username"], me.json["role"]) == (200, "admin", "admin")


@pytest.mark.parametrize("program", ["wind-sensor", "wind-collector"])
def test_a_typo_in_a_setting_names_the_nearest_one(program, tmp_path):
    conf = tmp_path / "conf.yaml"
    wrong, right = {
        "wind-sensor": ("flow:\n  maxx: 5\n", "flow.max"),
        "wind-collector": ("api:\n  lissten: x\n", "api.listen"),
    }[program]
    conf.write_text(wrong)
    done = support.run(program, "-c", conf, "-T")
    assert done.returncode == 3
    assert f"did you mean '{right}'" in done.stderr
    assert "conf.yaml:2" in done.stderr
