"""HUP: settings that change while the sensor runs, and mistakes that change nothing."""

import os
import signal

import pytest
import support
from live import Live, udp_frame

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def test_flow_max_is_lowered_and_raised_while_it_runs(link, tmp_path):
    conf = tmp_path / "sensor.yaml"
    rest = (
        "  idle_new: 10m\nstats: {interval: 1s}\ncapture: {interface: wb, filter: udp port 4001}\n"
    )
    conf.write_text("flow:\n  max: 4096\n" + rest)
    live = Live(link, tmp_path, "-c", conf)
    link.send([udp_frame(n) for n in range(3000)])
    support.until("all are held", lambda: live.stats()["flow"]["live"] == 3000)
    assert live.stats()["flow"]["max"] == 4096

    conf.write_text("flow:\n  max: 1024\n  idel: 5s\n" + rest)
    _hup(live, "sensor.yaml:3: unknown setting 'flow.idel'")
    assert live.stats()["flow"]["max"] == 4096

    conf.write_text("flow:\n  max: 1024\n  linger: 5s\n" + rest)
    _hup(live, "take effect at the next start: flow.linger")
    support.until("it is adopted", lambda: live.stats()["flow"]["max"] == 1024)
    link.send([udp_frame(10000 + n) for n in range(2500)])
    support.until("it is reached", lambda: live.stats()["flow"]["live"] == 1024)
    assert live.stats()["flow"]["ended_evicted"] == 3000 + 2500 - 1024

    conf.write_text("flow:\n  max: 100000\n" + rest)
    _hup(live, "at most 100000 flows, but no more than at the start")
    support.until("what there is room for", lambda: live.stats()["flow"]["max"] == 4096)
    live.stop()


def _hup(live, expected):
    live.process.send_signal(signal.SIGHUP)
    support.until(f"it says {expected}", lambda: expected in live.log)


def test_without_a_file_hup_is_the_end(link, tmp_path):
    live = Live(link, tmp_path)
    live.process.send_signal(signal.SIGHUP)
    assert live.process.wait(30 * support.SLOW) == 0, live.log
