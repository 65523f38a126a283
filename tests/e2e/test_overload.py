"""More flows than can be written: what is left out, what is not, and whether the books say so."""

import collections
import os
import signal
import time

import pytest
import support
from live import Live, udp_frame

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

FLOWS = 6000  # some 600 bytes of ring each: several times as much as the ring holds


def test_a_full_ring_costs_depth_first_and_the_counters_agree(link, tmp_path):
    live = Live(link, tmp_path, "--set", "ring.flows=1mb", "--set", "flow.idle_new=1s")
    uplink = live.child("wind-uplink")
    link.send([udp_frame(9999)], times=200)  # a long one
    os.kill(uplink, signal.SIGSTOP)
    link.send([udp_frame(n) for n in range(FLOWS)])
    link.send([udp_frame(9999)], times=10)
    time.sleep(9)  # they have ended by now, even those that were held; nobody is there to say so
    os.kill(uplink, signal.SIGCONT)
    support.until("it has seen them all", lambda: live.stats()["flow"]["made"] > FLOWS)
    support.until("it has calmed down", lambda: live.stats()["ladder"]["lowered"] == 0, 60)
    link.send([udp_frame(10000 + n) for n in range(100)])
    support.until("new flows have ended", lambda: _is_calm(live), 60)

    stats = live.stop()
    flow, ladder = stats["flow"], stats["ladder"]
    assert ladder["descents"] >= 1
    assert flow["depth_detectors"] > 0 and flow["shed"] > 0
    lines = [x for x in live.lines if x["event_type"] == "flow"]
    levels = collections.Counter(x["wind"]["analysis_level"] for x in lines)
    assert levels["full"] == flow["depth_full"]
    assert levels["detectors"] == flow["depth_detectors"]
    assert set(levels) <= {"full", "detectors"}
    long = [x for x in lines if x["flow"]["pkts_toserver"] >= 200]
    assert [x["wind"]["analysis_level"] for x in long] == ["full"]
    late = [x for x in lines if x["src_ip"].startswith("10.9.39.") and x not in long]
    assert len(late) > 50 and all(x["wind"]["analysis_level"] == "full" for x in late)
    unscored = [x for x in lines if x["wind"]["analysis_level"] == "detectors"]
    assert all(x["wind"]["p_value"] == 1 for x in unscored)


def _is_calm(live):
    flow = live.stats()["flow"]
    return flow["made"] >= FLOWS + 100 and flow["live"] == 0
