"""The sums that every run of the sensor has to keep (sensor/counter.h)."""


def balance(stats):
    assert stats["capture"]["packets"] == sum(stats["decoder"].values())
    flow = stats["flow"]
    ended = sum(n for name, n in flow.items() if name.startswith("ended_"))
    assert flow["made"] == ended + flow["live"] + flow["lost_ring"]
    alert = stats["alert"]
    assert alert["raised"] == sum(
        alert[k] for k in ("suppressed", "lost_ring", "lost_crash", "published")
    )
    assert alert["published"] == sum(
        alert[k] for k in ("logged", "delivered", "rejected", "spooled", "lost_spool")
    )
