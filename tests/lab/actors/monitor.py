"""A monitoring host: pings every host and tries the services it should have. It talks to many
hosts, which looks a little like a sweep, and is none."""

import socket
import struct

from actor import Actor

PORTS = {"web": 443, "ssh": 22}


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def ping(address, sequence):
    """One echo request through an unprivileged ICMP socket; True if it was answered."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP) as sock:
        sock.settimeout(2)
        body = bytes(range(56))
        head = struct.pack("!BBHHH", 8, 0, 0, 0, sequence)
        sock.sendto(
            head[:2] + struct.pack("!H", checksum(head + body)) + head[4:] + body, (address, 0)
        )
        try:
            return len(sock.recv(256)) >= 8
        except OSError:
            return False


def knock(address, port):
    """Open a connection and close it."""
    try:
        with socket.create_connection((address, port), timeout=3):
            return True
    except OSError:
        return False


def main():
    actor = Actor()
    sequence = 0
    going = actor.wait(actor.rng.uniform(1, 15))
    while going:
        sequence += 1
        for target in actor.rng.sample(actor.targets, len(actor.targets)):
            actor.count(ping(target["ip"], sequence))
            for service in sorted(set(PORTS) & set(target["services"])):
                actor.count(knock(target["ip"], PORTS[service]))
            if not actor.wait(actor.rng.uniform(0.05, 0.6)):
                break
        going = actor.wait(actor.option("interval_s", 90) + actor.rng.uniform(0, 2))
    actor.done()


if __name__ == "__main__":
    main()
