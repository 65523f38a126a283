"""nfstream_flows.py CAPTURE: NFStream's flows, a JSON line each. For a Python that has NFStream."""

import json
import sys

from nfstream import NFStreamer

IP_BYTES = 1  # accounting mode: IP header and what follows
NEVER = 10**8  # seconds; a flow is over when the capture is

WANTED = ["src_ip", "src_port", "dst_ip", "dst_port", "protocol", "vlan_id"]
WANTED += ["bidirectional_first_seen_ms", "bidirectional_duration_ms", "bidirectional_packets"]
for way in ("src2dst", "dst2src"):
    WANTED += [f"{way}_packets", f"{way}_bytes", f"{way}_duration_ms"]
    WANTED += [f"{way}_{what}_piat_ms" for what in ("mean", "stddev", "max")]
    WANTED += [
        f"{way}_{flag}_packets" for flag in ("syn", "rst", "fin", "ack", "psh", "urg", "ece", "cwr")
    ]


def main():
    flows = NFStreamer(
        source=sys.argv[1],
        statistical_analysis=True,
        n_dissections=0,
        accounting_mode=IP_BYTES,
        idle_timeout=NEVER,
        active_timeout=NEVER,
        n_meters=1,
    )
    for flow in flows:
        print(json.dumps({name: getattr(flow, name) for name in WANTED}))


if __name__ == "__main__":
    main()
