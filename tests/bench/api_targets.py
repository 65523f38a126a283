"""The targets of the API, and the tables that say how far from them a run was."""

import targets

# row, case, which ratio to the peer, target; all of them "at least"
SPEED = [
    ("list of 50", "list50", "service", 8),
    ("list of 50, PostgreSQL's CPU counted too", "list50", "with_pg", 2),
    ("list of 50, p99", "list50", "p99", 4),
    ("list of 50, each time others", "pages", "service", 8),
    ("list of 50, each time others, PostgreSQL's CPU counted too", "pages", "with_pg", 2),
    ("list of 50, each time others, p99", "pages", "p99", 4),
    ("alert by id", "get", "service", 10),
    ("GET /api/auth/me", "me", "service", 10),
    ("POST alert, durable", "post", "service", 4),
]
RSS_MIB = 200
INGEST_S = 8000


def verdicts(lines):
    out = []
    for line in lines:
        for row, case, key, want in SPEED:
            if line["bench"] == "collector" and line["case"] == case and "x" in line:
                name = f"{line['server']}, {row}: × peer"
                out.append(targets.judged(name, line["x"][key], want, None, True))
        if line["bench"] == "memory":
            name = f"{line['server']}, MiB with {line['connections']:,} connections"
            out.append(targets.judged(name, line["peak_mib"], RSS_MIB, None, False))
        if line["bench"] == "growth":
            name = f"{line['server']}, alerts a second by HTTP, {line['alerts']:,} there"
            out.append(targets.judged(name, line["ingest_s"], INGEST_S, None, True))
    return [x | {"bench": "collector"} for x in out]


def case_table(lines):
    text = [
        "| case | server | requests/s | p50 ms | p99 ms | service µs | PostgreSQL µs | × peer |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for x in sorted(lines, key=lambda x: x["case"]):
        ratio = x.get("x", {}).get("service", "")
        text.append(
            f"| {x['case']} | {x['server']} | {x['rps']:,} | {x['p50_ms']} | {x['p99_ms']} |"
            f" {x['service_us']} | {x.get('pg_us', '')} | {ratio} |"
        )
    return text


def growth_table(lines):
    text = [
        "| server | alerts | list µs | p99 ms | by entity µs | p99 ms | by words µs | p99 ms |"
        " ingest µs | alerts/s |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for x in sorted(lines, key=lambda x: x["server"]):
        cells = [x["server"], f"{x['alerts']:,}"]
        for case in ("list50", "search", "words"):
            server = f" + {x[f'{case}_pg_us']}" if f"{case}_pg_us" in x else ""
            cells += [f"{x[f'{case}_us']}{server}", x[f"{case}_p99_ms"]]
        cells += [x["ingest_us"], f"{x['ingest_s']:,}"]
        text.append(f"| {' | '.join(map(str, cells))} |")
    return text


def tables(lines, judgements):
    text = []
    for bench, table in (("collector", case_table), ("growth", growth_table)):
        some = [x for x in lines if x["bench"] == bench]
        text += [*table(some), ""] if some else []
    for x in lines:
        if x["bench"] == "memory":
            text.append(f"{x['server']}: {x['before_mib']} MiB, then {x['peak_mib']} at the peak\n")
    return "\n".join([*text, *targets.verdict_table(judgements)])
