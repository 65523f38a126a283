"""The sums that every run of the sensor has to keep (sensor/counter.h)."""


def balance(stats):
    assert stats["capture"]["packets"] == sum(stats["decoder"].values())
    capture = stats["capture"]
    if capture["kernel_packets"]:  # live
        assert capture["kernel_packets"] == sum(
            capture[k] for k in ("packets", "kernel_drops", "kernel_left", "kernel_lost")
        )
    flow = stats["flow"]
    ended = sum(n for name, n in flow.items() if name.startswith("ended_"))
    if stats["supervisor"]["analyser_restarts"] == 0:  # a crash may fall between the two counts
        by_depth = flow["depth_full"] + flow["depth_detectors"] + flow["shed"]
        assert by_depth == ended, flow
    assert flow["made"] == ended + flow["live"] + flow["lost_ring"]
    if flow["live"] == 0:
        assert stats["facts"]["bytes"] == 0, "what is said on a flow goes with it"
    alert = stats["alert"]
    assert alert["raised"] == sum(
        alert[k] for k in ("suppressed", "lost_ring", "lost_crash", "published")
    )
    assert alert["published"] == sum(
        alert[k] for k in ("logged", "delivered", "rejected", "spooled", "lost_spool")
    )
    kafka = stats["kafka"]
    assert kafka["flows"] == sum(
        kafka[k] for k in ("flows_delivered", "flows_dropped", "flows_waiting")
    )
