"""What is said on flows, through the whole sensor, with nDPI and without: TLS, DNS, and names."""

import struct

import captures
import pytest
from books import balance
from captures import ACK, PSH, SYN
from check_eve import first_error

START = 1_700_000_000 * 10**9
MS = 10**6
CLIENT, OTHER, RESOLVER, SERVER = "10.0.0.1", "10.0.0.2", "10.0.0.53", "192.0.2.7"
# t13d1516h2_8daaf6152771_e5627efa2ab1: the published example of JA4
CIPHERS = "1301,1302,1303,c02b,c02f,c02c,c030,cca9,cca8,c013,c014,009c,009d,002f,0035"
EXTENSIONS = "001b,0000,0033,0010,4469,0017,002d,000d,0005,0023,0012,002b,ff01,000b,000a,0015"
SIGNATURES = "0403,0804,0401,0503,0805,0501,0806,0601"


def part(data, size=2):
    return len(data).to_bytes(size, "big") + data


def name(text):
    return b"".join(part(label.encode(), 1) for label in text.split(".")) + b"\0"


def question(number, text, kind=1, flags=0x0100):
    return struct.pack("!6H", number, flags, 1, 0, 0, 0) + name(text) + struct.pack("!2H", kind, 1)


def answer(number, text, *addresses, ttl=300):
    head = struct.pack("!6H", number, 0x8180, 1, len(addresses), 0, 0)
    out = head + name(text) + struct.pack("!2H", 1, 1)
    for address in addresses:
        data = bytes(map(int, address.split(".")))
        out += b"\xc0\x0c" + struct.pack("!2HI", 1, 1, ttl) + part(data)
    return out


def client_hello(server):
    bodies = {
        "0000": part(b"\0" + part(server.encode())),
        "0010": part(part(b"h2", 1) + part(b"http/1.1", 1)),
        "002b": part(bytes.fromhex("03040303"), 1),
        "000d": part(bytes.fromhex(SIGNATURES.replace(",", ""))),
    }
    extensions = b"".join(
        bytes.fromhex(e) + part(bodies.get(e, b"")) for e in EXTENSIONS.split(",")
    )
    body = b"\3\3" + bytes(range(32)) + b"\0" + part(bytes.fromhex(CIPHERS.replace(",", "")))
    body += b"\1\0" + part(extensions)
    return b"\x16\3\1" + part(b"\1" + part(body, 3))


class Tape:
    def __init__(self):
        self.packets = []
        self.now = START

    def add(self, frame, pause_ms=1):
        self.now += pause_ms * MS
        self.packets.append((self.now, frame, len(frame)))

    def ask(self, client, number, text, *addresses, port=5000):
        self.add(captures.udp(client, RESOLVER, port, 53, question(number, text)))
        self.add(captures.udp(RESOLVER, client, 53, port, answer(number, text, *addresses)))

    def connect(self, client, port, pieces, dport=443):
        """A connection whose client says the pieces, a segment each; some are lost."""
        self.add(captures.tcp(client, SERVER, port, dport, SYN, seq=99))
        self.add(captures.tcp(SERVER, client, dport, port, SYN | ACK))
        at = 100
        for piece, is_lost in pieces:
            if not is_lost:
                self.add(captures.tcp(client, SERVER, port, dport, PSH | ACK, piece, seq=at))
            at += len(piece)

    def write(self, path):
        path.write_bytes(captures.pcap(self.packets))
        return path


@pytest.fixture(params=["dpi.enabled=yes", "dpi.enabled=no"])
def play(request, sensor, tmp_path):
    def run(tape, *settings):
        options = [o for s in (request.param, *settings) for o in ("--set", s)]
        result = sensor("-r", tape.write(tmp_path / "tape.pcap"), *options)
        assert result.code == 0, result.stderr
        assert first_error(result.eve.decode().splitlines()) is None
        balance(result.stats)
        return result

    return run


def by_port(run):
    return {f.get("src_port"): f for f in run.of_type("flow")}


def test_a_client_hello_in_three_segments(play):
    hello = client_hello("www.example.org")
    tape = Tape()
    tape.connect(
        CLIENT, 40000, [(hello[:100], False), (hello[100:101], False), (hello[101:], False)]
    )
    tape.connect(
        CLIENT, 40001, [(hello[:100], False), (hello[100:101], True), (hello[101:], False)]
    )
    run = play(tape)
    tls = by_port(run)[40000]["tls"]
    assert tls["ja4"] == "t13d1516h2_8daaf6152771_e5627efa2ab1"
    assert tls["sni"] == "www.example.org"
    assert tls["client_alpns"] == ["h2", "http/1.1"]
    assert tls["client_versions"] == ["TLS 1.3", "TLS 1.2"]
    assert by_port(run)[40000]["app_proto"] == "tls"
    assert run.stats["facts"]["tls_hellos"] == 1
    assert run.stats["facts"]["out_of_order"] == 1
    assert "ja4" not in by_port(run)[40001].get("tls", {})


def test_all_answers_of_a_flow(play):
    tape = Tape()
    tape.ask(CLIENT, 1, "www.example.org", "192.0.2.7", "192.0.2.8")
    tape.add(captures.udp(CLIENT, RESOLVER, 5000, 53, question(2, "nobody.example", 28)))
    run = play(tape)
    (flow,) = run.of_type("flow")
    dns = flow["dns"]
    assert (dns["type"], dns["rrname"], dns["rrtype"]) == ("answer", "www.example.org", "A")
    assert [a["rdata"] for a in dns["answers"]] == ["192.0.2.7", "192.0.2.8"]
    assert dns["grouped"] == {"A": ["192.0.2.7", "192.0.2.8"]}
    assert [(t["type"], t["rrname"]) for t in dns["transactions"]] == [
        ("answer", "www.example.org"),
        ("query", "nobody.example"),
    ]
    assert flow["app_proto"] == "dns"


def test_dns_over_tcp(play):
    tape = Tape()
    message = answer(7, "big.example", *[f"192.0.2.{i}" for i in range(1, 30)])
    asked = part(question(7, "big.example"))
    tape.add(captures.tcp(CLIENT, RESOLVER, 5000, 53, SYN, seq=99))
    tape.add(captures.tcp(RESOLVER, CLIENT, 53, 5000, SYN | ACK, seq=99))
    tape.add(captures.tcp(CLIENT, RESOLVER, 5000, 53, PSH | ACK, asked[:2], seq=100))
    tape.add(captures.tcp(CLIENT, RESOLVER, 5000, 53, PSH | ACK, asked[2:], seq=102))
    tape.add(captures.tcp(RESOLVER, CLIENT, 53, 5000, PSH | ACK, part(message)[:300], seq=100))
    tape.add(captures.tcp(RESOLVER, CLIENT, 53, 5000, PSH | ACK, part(message)[300:], seq=400))
    (flow,) = play(tape).of_type("flow")
    assert len(flow["dns"]["answers"]) == 29
    assert "transactions" not in flow["dns"]


def test_a_connection_has_the_name_that_its_client_asked_for(play):
    """The answer's own flow ends after the connections; each client knows what it asked for."""
    tape = Tape()
    tape.connect(CLIENT, 40000, [(b"early", False)], dport=9999)
    tape.ask(CLIENT, 1, "One.Example", SERVER, port=5001)
    tape.ask(OTHER, 1, "two.example", SERVER, port=5002)
    tape.connect(CLIENT, 40001, [(b"x", False)], dport=9999)
    tape.connect(OTHER, 40002, [(b"x", False)], dport=9999)
    tape.connect("10.0.0.3", 40003, [(b"x", False)], dport=9999)
    tape.now += 400 * 10**9
    tape.connect(CLIENT, 40004, [(b"late", False)], dport=9999)
    run = play(tape, "flow.idle=1h")
    names = {port: f["wind"].get("dest_name") for port, f in by_port(run).items()}
    assert names[40001] == "one.example"
    assert names[40002] == "two.example"
    assert names[40003] == "two.example"
    assert names[40004] is None
    assert names[40000] == "one.example", "asked within a second of its start"
    assert run.stats["names"]["told"] == 2


def test_what_does_not_fit_is_counted(play):
    tape = Tape()
    for number in range(300):
        tape.ask(CLIENT, number, f"host-{number}.example.org", SERVER)
    run = play(tape)
    (flow,) = run.of_type("flow")
    assert flow["dns"]["more"] is True
    assert len(flow["dns"]["transactions"]) > 20
    assert run.stats["facts"]["cut"] == 1
    assert run.stats["names"]["told"] == 300


def test_the_names_remembered_have_a_limit(play):
    tape = Tape()
    for number in range(100):
        tape.ask(CLIENT, number, f"host-{number}.example.org", f"192.0.2.{number}")
    run = play(tape, "dns.names_max=16")
    assert run.stats["names"]["live"] == 16
    assert run.stats["names"]["evicted"] == 200 - 16
