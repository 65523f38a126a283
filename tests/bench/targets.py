"""The targets of the packet path, and the tables that say how far from them a run was."""

import peers

# row, capture, case of Wind, peers (the fastest counts), target, stretch; all of them "at least"
SPEED = [
    ("everything on", "mix", "wind", ("ndpiReader",), 1.5, 2),
    ("everything on", "mix", "wind", ("suricata",), 3.5, 5),
    ("everything on", "mix", "wind", ("nfstream-dpi",), 7, 10),
    ("everything on", "flows-100k", "wind", ("ndpiReader",), 3, 4),
    ("everything on", "flows-1m", "wind", ("ndpiReader",), 2, 3),
    ("without nDPI", "flows-100k", "wind-nodpi", peers.FLOW_ENGINES, 2, 3),
    ("without nDPI", "flows-1m", "wind-nodpi", peers.FLOW_ENGINES, 0.8, 1.2),
    ("without nDPI", "flows-100k", "wind-nodpi", ("nfstream",), 10, 10),
    ("without nDPI", "flows-1m", "wind-nodpi", ("nfstream",), 10, 10),
    ("flow engine", "flows-100k", "wind-engine", ("null-flow",), 0.5, 0.7),
    ("flow engine", "flows-1m", "wind-engine", ("null-flow",), 0.7, 1),
]
# row, bench, case, key, target, stretch; all of them "at most"
COST = [
    ("what a flow costs once, µs", "flow", "sum", "us", 8, 5),
    ("memory at 1 M live flows without nDPI, MiB", "memory", "wind-nodpi", "anon_mib", 700, None),
    ("memory at 1 M live flows with nDPI, MiB", "memory", "wind", "anon_mib", 1536, None),
    ("the same, late against half-way, without nDPI", "memory", "wind-nodpi", "growth", 1.05, None),
    ("the same, late against half-way, with nDPI", "memory", "wind", "growth", 1.05, None),
]
NULL = "null-mmap"


def judged(target, have, want, stretch, at_least):
    def met(limit):
        return limit is not None and (have >= limit if at_least else have <= limit)

    return {
        "bench": "sensor",
        "target": target,
        "have": have,
        "want": want,
        "stretch": stretch,
        "met": met(want),
        "stretch_met": met(stretch),
    }


def verdicts(lines):
    cases = {(x["capture"], x["case"]): x for x in lines if x["bench"] == "sensor"}
    out = []
    for row, capture, case, rivals, want, stretch in SPEED:
        x = cases.get((capture, case), {}).get("x", {})
        there = {r: x[r] for r in rivals if r in x}
        if there:
            rival = min(there, key=there.get)
            name = f"{row}, {capture}: × {rival}"
            out.append(judged(name, there[rival], want, stretch, True))
    for line in lines:
        if line["bench"] == "workers":
            name = f"flow engine, {line['case']}: gain against null-flow's"
            name += "" if line["are_cores_free"] else " (the cores were not free)"
            out.append(judged(name, line["x"], 0.9, None, True))
    for row, bench, case, key, want, stretch in COST:
        for line in lines:
            if line["bench"] == bench and line.get("case") == case and key in line:
                out.append(judged(row, line[key], want, stretch, False))
    return out


def verdict_table(judgements):
    text = ["| target | at least / at most | here | met | stretch |", "|---|--:|--:|---|---|"]
    for v in judgements:
        stretch = "" if v["stretch"] is None else f"{v['stretch']}: {yes(v['stretch_met'])}"
        text.append(
            f"| {v['target']} | {v['want']} | {v['have']:.3g} | {yes(v['met'])} | {stretch} |"
        )
    return text


def yes(is_met):
    return "yes" if is_met else "**no**"


def flows_of(lines, capture):
    return next((x["flows"] for x in lines if x["capture"] == capture and "flows" in x), 0)


def case_table(lines):
    """A row a case, a column a capture; million packets per CPU-second, and the largest process."""
    captures = list(dict.fromkeys(x["capture"] for x in lines))
    cells = {(x["case"], x["capture"]): x for x in lines}
    packets = {x["capture"]: x["packets"] for x in lines}
    text = [
        "| million packets per CPU-second | " + " | ".join(captures) + " |",
        "|---|" + "--:|" * len(captures),
        "| *packets; flows* | "
        + " | ".join(f"{packets[c]:,}; {flows_of(lines, c):,}" for c in captures)
        + " |",
    ]
    for case in dict.fromkeys(x["case"] for x in lines):
        row = [cells.get((case, c)) for c in captures]
        text.append(
            f"| {case} | "
            + " | ".join(f"{x['mpps_cpu']:.3g} ({x['rss_mib']:,})" if x else "" for x in row)
            + " |"
        )
    return [*text, ""]


def tables(lines, judgements):
    sensor = [x for x in lines if x["bench"] == "sensor"]
    text = case_table(sensor) if sensor else []
    for x in sensor:
        if x["case"] == "wind-engine" and NULL in x.get("x", {}):
            text.append(f"distance to {NULL}, {x['capture']}: {1 / x['x'][NULL]:.1f} ×")
    return "\n".join([*text, "", *verdict_table(judgements)])
