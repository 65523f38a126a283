"""What was said on a flow, as Wind's own readers have it (nDPI is off), beside tshark's dissection.

tshark 4.0 has no JA4: it is computed here, in Python, from the lists that tshark shows.
"""

import collections
import hashlib
import subprocess

import pytest

HELLO = [
    "tcp.seq",
    "tcp.ack",
    "tls.handshake.version",
    "tls.handshake.ciphersuite",
    "tls.handshake.extension.type",
    "tls.handshake.extensions_server_name",
    "tls.handshake.extensions_alpn_str",
    "tls.handshake.extensions.supported_version",
    "tls.handshake.sig_hash_alg",
    "tls.handshake.sig_hash_alg_len",
]
DNS = [
    "dns.id",
    "dns.flags.response",
    "dns.flags.rcode",
    "dns.qry.name",
    "dns.qry.type",
    "dns.resp.name",
    "dns.resp.type",
    "dns.resp.ttl",
    "dns.a",
    "dns.aaaa",
    "dns.cname",
    "dns.ns",
    "dns.ptr.domain_name",
    "dns.mx.mail_exchange",
    "dns.txt",
]
ENDS = ["ip.src", "ipv6.src", "ip.dst", "ipv6.dst", "SRC", "DST"]
OPT = 41
NO_DATA = "\\# 0"  # of a dynamic update (RFC 2136), as RFC 3597 writes it; tshark shows nothing
RCODES = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}
VERSIONS = {0x0304: "TLS 1.3", 0x0303: "TLS 1.2", 0x0302: "TLS 1.1", 0x0301: "TLSv1"}
VERSIONS |= {0x0300: "SSLv3", 0x0002: "SSLv2"}
TYPES = {1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 12: "PTR", 15: "MX", 16: "TXT", 28: "AAAA"}
TYPES |= {33: "SRV", 47: "NSEC", 65: "HTTPS", 255: "ANY", 10: "NULL", 25: "KEY", 13: "HINFO"}


def tshark(capture, proto, display, fields, tls_ports=()):
    """A dictionary a packet: field -> list of texts, and "ends": who sent it to whom. What is on
    `tls_ports` is TLS, whatever else tshark would take it for."""
    ports = {"SRC": f"{proto}.srcport", "DST": f"{proto}.dstport"}
    names = [ports.get(f, f) for f in ENDS] + fields
    command = ["tshark", "-n", "-r", capture, "-Y", display, "-T", "fields", "-E", "separator=/t"]
    command += ["-E", "occurrence=a", "-E", "aggregator=|"]
    command += ["--disable-protocol", "tftp"]  # it claims ports that it saw a request from
    for port in sorted(tls_ports):
        command += ["-d", f"tcp.port=={port},tls"]
    for name in names:
        command += ["-e", name]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    for line in out.splitlines():
        cells = line.split("\t")
        ip4, ip6, to4, to6, sport, dport = cells[: len(ENDS)]
        if "|" in sport + ip4 + ip6:
            continue  # a packet in a packet
        yield {
            "ends": ((ip4 or ip6, int(sport)), (to4 or to6, int(dport))),
            **{
                f: v.split("|") if v else []
                for f, v in zip(fields, cells[len(ENDS) :], strict=True)
            },
        }


def numbers(texts):
    return [int(t, 0) for t in texts]


def is_grease(v):
    return v & 0x0F0F == 0x0A0A and v >> 8 == v & 0xFF


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()[:12] if text else "0" * 12


def signature_list(hello):
    """That of extension 13: tshark shows those of delegated credentials (34) in the same field."""
    found = numbers(hello["tls.handshake.sig_hash_alg"])
    lengths = numbers(hello["tls.handshake.sig_hash_alg_len"])
    order = [e for e in numbers(hello["tls.handshake.extension.type"]) if e in (13, 34)]
    for extension, length in zip(order, lengths, strict=True):
        if extension == 13:
            return found[: length // 2]
        found = found[length // 2 :]
    return []


def ja4(hello):
    """FoxIO's technical_details/JA4.md, by the lists of a hello."""
    ciphers = [c for c in numbers(hello["tls.handshake.ciphersuite"]) if not is_grease(c)]
    extensions = [e for e in numbers(hello["tls.handshake.extension.type"]) if not is_grease(e)]
    signatures = [s for s in signature_list(hello) if not is_grease(s)]
    version = max(versions(hello))
    digits = {0x304: "13", 0x303: "12", 0x302: "11", 0x301: "10", 0x300: "s3"}.get(version, "00")
    alpn = hello["tls.handshake.extensions_alpn_str"]
    ends = alpn[0][0] + alpn[0][-1] if alpn else "00"
    head = f"t{digits}{'d' if 0 in extensions else 'i'}"
    head += f"{min(len(ciphers), 99):02}{min(len(extensions), 99):02}{ends}"
    listed = ",".join(f"{c:04x}" for c in sorted(ciphers))
    rest = ",".join(f"{e:04x}" for e in sorted(extensions) if e not in (0, 16))
    if rest and signatures:
        rest += "_" + ",".join(f"{s:04x}" for s in signatures)
    return f"{head}_{digest(listed)}_{digest(rest)}"


def versions(hello):
    found = numbers(hello["tls.handshake.extensions.supported_version"])
    return [v for v in found if not is_grease(v)] or numbers(hello["tls.handshake.version"])[:1]


def by_ends(flows):
    """Flows by both ways of writing their ends; connections that reuse ports in their order."""
    found = collections.defaultdict(list)
    for f in sorted(flows, key=lambda f: f.eve["flow"]["start"]):
        found[f.ends].append(f.eve)
    return found


def their_hellos(capture, tls_ports=()):
    found = collections.defaultdict(list)
    display = "tls.handshake.type == 1 && tcp && !_ws.malformed"
    for p in tshark(capture, "tcp", display, HELLO, tls_ports):
        found[p["ends"]].append(p)
    return found


def test_every_client_hello_is_read_alike(seen):
    theirs = their_hellos(seen.capture)
    ours = {
        ends: [f["tls"] for f in flows if "ja4" in f.get("tls", {})]
        for ends, flows in by_ends(seen.wind).items()
    }
    ours = {ends: tls for ends, tls in ours.items() if tls}
    if not theirs and not ours:
        pytest.skip("no TLS")
    alone = set(ours) - set(theirs)
    if alone:  # tshark went by the port
        told = their_hellos(seen.capture, {port for _, (_, port) in alone})
        theirs |= {ends: told[ends] for ends in alone if ends in told}
    for ends in set(theirs) - set(ours):  # we read what begins with it
        for hello in theirs.pop(ends):
            assert int(hello["tcp.seq"][0]) > 1 or int(hello["tcp.ack"][0]) > 1
    assert set(ours) == set(theirs)
    for ends, hellos in theirs.items():
        assert len(ours[ends]) <= len(hellos)  # a second one answers a HelloRetryRequest
        for tls in ours[ends]:
            hello = hellos.pop(0)
            assert tls["ja4"] == ja4(hello)
            assert ([tls["sni"]] if "sni" in tls else []) == hello[
                "tls.handshake.extensions_server_name"
            ]
            assert tls.get("client_alpns", []) == hello["tls.handshake.extensions_alpn_str"]
            assert tls["client_versions"] == [VERSIONS[v] for v in versions(hello)]


def our_messages(flow):
    dns = flow.get("dns")
    return [] if dns is None else dns.get("transactions", [dns])


def described(message):
    """A message of ours, as far as tshark shows it as plain fields."""
    records = [r for s in ("answers", "authorities", "additionals") for r in message.get(s, [])]
    by_type = collections.defaultdict(list)
    for r in records:
        if r["rdata"] != NO_DATA:
            by_type[r["rrtype"]].append(r["rdata"])
    return {
        "id": message["id"],
        "rcode": message.get("rcode", "NOERROR"),
        "rr": [(r["rrname"], r["rrtype"], r["ttl"]) for r in records],
        **{t: by_type[t] for t in ("A", "AAAA", "CNAME", "NS", "PTR", "MX")},
    }


def is_plain(p):
    """tshark shows names raw; one with odd characters, or with the separator, can't be compared."""
    names = [n for f in ("dns.qry.name", "dns.resp.name", "dns.cname", "dns.ns") for n in p[f]]
    pairs = (("dns.qry.type", "dns.qry.name"), ("dns.resp.type", "dns.resp.name"))
    return all(n.isascii() and n.isprintable() for n in names) and all(
        len(p[a]) == len(p[b]) for a, b in pairs
    )


def shown(p):
    """The same of tshark's."""
    if not is_plain(p):
        return {"id": int(p["dns.id"][0], 0)}
    types = numbers(p["dns.resp.type"])
    ttls = numbers(p["dns.resp.ttl"])
    names = ["." if n == "<Root>" else n for n in p["dns.resp.name"]]
    plain = [(n, t) for n, t in zip(names, types, strict=True) if t != OPT]
    return {
        "id": int(p["dns.id"][0], 0),
        "rcode": RCODES[int(p["dns.flags.rcode"][0])] if p["dns.flags.rcode"] else "NOERROR",
        "rr": [(n, TYPES.get(t, f"TYPE{t}"), ttl) for (n, t), ttl in zip(plain, ttls, strict=True)],
        "A": p["dns.a"],
        "AAAA": p["dns.aaaa"],
        "CNAME": p["dns.cname"],
        "NS": p["dns.ns"],
        "PTR": p["dns.ptr.domain_name"],
        "MX": p["dns.mx.mail_exchange"],
    }


def test_every_answer_of_dns_is_read_alike(seen):
    theirs = collections.defaultdict(list)
    display = "dns.flags.response == 1 && udp && !_ws.malformed && !icmp && !icmpv6"
    for p in tshark(seen.capture, "udp", display, DNS):
        src, dst = p["ends"]
        if {53, 5353, 5355} & {src[1], dst[1]}:
            theirs[frozenset((src, dst))].append(shown(p))
    ours = collections.defaultdict(list)
    cut = set()
    for ends, flows in by_ends(f for f in seen.wind if f.eve["proto"] == "UDP").items():
        for f in flows:
            key = frozenset(ends)
            messages = our_messages(f)
            ours[key] += [described(m) for m in messages if m["type"] == "answer"]
            if f.get("dns", {}).get("more") or any("truncated" in m for m in messages):
                cut.add(key)
    ours = {k: m for k, m in ours.items() if m}
    if not theirs and not ours:
        pytest.skip("no DNS")
    assert set(ours) == set(theirs)
    for key, messages in theirs.items():
        if key in cut:
            continue
        for mine, message in zip(ours[key], messages, strict=True):
            assert {field: mine[field] for field in message} == message
