"""A small SNTP server and client: `ntp.py serve IP`, or an actor that polls as chrony does."""

import socket
import struct
import sys
import time

EPOCH = 2208988800  # 1900 to 1970


def stamp():
    now = time.time() + EPOCH
    return struct.pack("!II", int(now), int(now % 1 * 2**32))


def serve(address):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((address, 123))
    while True:
        request, peer = sock.recvfrom(512)
        if len(request) >= 48:
            head = struct.pack("!BBbb", 0x24, 2, 6, -20) + struct.pack("!II4s", 64, 512, b"LAB\0")
            now = stamp()
            sock.sendto(head + now + request[40:48] + now + stamp(), peer)


def ask(server):
    """One question, one answer; True if it came."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(2)
        sock.sendto(b"\x23" + b"\0" * 39 + stamp(), (server, 123))
        try:
            return len(sock.recv(512)) >= 48
        except TimeoutError:
            return False


def main():
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    from actor import Actor  # only the client is one

    actor = Actor()
    while actor.wait(actor.option("interval_s", 64) + actor.rng.uniform(-0.5, 0.5)):
        actor.count(ask(actor.rng.choice(actor.targets)["ip"]))
    actor.done()


if __name__ == "__main__":
    main()
