"""The wires: a relay in user space that gives every host its delay, jitter, loss and rate.

One process holds both ends of every host's wire. A frame that comes in at one end leaves at the
other when it is due; frames of one direction never overtake each other. Loss happens on the
host's side of the switch, so the mirror sees what a real one would.
"""

import contextlib
import heapq
import os
import random
import select
import signal
import time

FRAME_MAX = 65536


class Direction:
    """One way of one wire: where frames go, and when the previous one is due."""

    __slots__ = ("delay", "jitter", "loss", "per_byte", "sink", "due", "random")

    def __init__(self, host, sink, seed):
        self.sink = sink
        self.delay = host["delay_ms"] / 1e3
        self.jitter = host["jitter_ms"] / 1e3
        self.loss = host["loss"]
        self.per_byte = 8 / (host["rate_mbit"] * 1e6)
        self.due = 0.0
        self.random = random.Random(seed)

    def schedule(self, now, length):
        """When a frame that arrives now is due at the other end; None if it is lost."""
        if self.random.random() < self.loss:
            return None
        extra = min(self.random.expovariate(1.0) * self.jitter, 6 * self.jitter)
        self.due = max(now + self.delay + extra, self.due) + length * self.per_byte
        return self.due


def relay(wires, seed):
    """Forward frames until SIGTERM. `wires` is Network.wires."""
    with contextlib.suppress(PermissionError):
        os.nice(-15)  # a busy machine must not become a slow network
    stop = []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(True))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ways = {}
    for i, (host, inner, outer) in enumerate(wires):
        ways[inner] = Direction(host, outer, f"{seed}/{i}/out")
        ways[outer] = Direction(host, inner, f"{seed}/{i}/in")
    sources = list(ways)
    waiting = []  # heap of (due, sequence, sink, frame)
    sequence = 0
    while not stop:
        now = time.monotonic()
        while waiting and waiting[0][0] <= now:
            _, _, sink, frame = heapq.heappop(waiting)
            _write(sink, frame)
        timeout = max(0.0, waiting[0][0] - time.monotonic()) if waiting else 0.5
        for fd in select.select(sources, (), (), timeout)[0]:
            sequence = _take(fd, ways[fd], waiting, sequence)


def _take(fd, way, waiting, sequence):
    """Read what a device has (bounded, so that nobody starves) and put it on the wire."""
    for _ in range(32):
        try:
            frame = os.read(fd, FRAME_MAX)
        except OSError:
            break
        due = way.schedule(time.monotonic(), len(frame))
        if due is not None:
            heapq.heappush(waiting, (due, sequence, way.sink, frame))
            sequence += 1
    return sequence


def _write(sink, frame):
    with contextlib.suppress(OSError):  # a device that is down loses frames, as a cable does
        os.write(sink, frame)
