"""A WebSocket client that can also misbehave: just enough of RFC 6455 for tests."""

import base64
import json
import os
import select
import socket
import struct

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class Refused(Exception):
    """The handshake was answered with something else than 101."""


def frame(payload, opcode=TEXT, fin=True, masked=True):
    first = bytes([(0x80 if fin else 0) | opcode])
    bit, n = (0x80 if masked else 0), len(payload)
    if n < 126:
        head = bytes([bit | n])
    elif n < 65536:
        head = bytes([bit | 126]) + struct.pack("!H", n)
    else:
        head = bytes([bit | 127]) + struct.pack("!Q", n)
    mask = b"\1\2\3\4" if masked else b""
    body = bytes(b ^ mask[i % 4] for i, b in enumerate(payload)) if masked else payload
    return first + head + mask + body


class WebSocket:
    def __init__(self, collector, timeout=60, **headers):
        self.socket = socket.create_connection(("127.0.0.1", collector.port), timeout)
        self.left = b""
        self.close_code = None
        lines = {
            "Host": f"127.0.0.1:{collector.port}",
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        } | {name.replace("_", "-"): value for name, value in headers.items()}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self.socket.sendall(f"GET /api/ws HTTP/1.1\r\n{head}\r\n".encode())
        while b"\r\n\r\n" not in self.left:
            got = self.socket.recv(65536)
            if not got:
                break
            self.left += got
        answer, _, self.left = self.left.partition(b"\r\n\r\n")
        if not answer.startswith(b"HTTP/1.1 101"):
            self.socket.close()
            raise Refused(int(answer.split()[1]), self.left)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def _take(self, n):
        while len(self.left) < n:
            got = self.socket.recv(65536)
            if not got:
                raise ConnectionError("closed without a close frame")
            self.left += got
        taken, self.left = self.left[:n], self.left[n:]
        return taken

    def read_frame(self):
        first, second = self._take(2)
        n = second & 0x7F
        if n == 126:
            (n,) = struct.unpack("!H", self._take(2))
        elif n == 127:
            (n,) = struct.unpack("!Q", self._take(8))
        return first & 0x0F, self._take(n)

    def read(self):
        """The next message but pings; None when the server closes (self.close_code)."""
        while True:
            opcode, payload = self.read_frame()
            if opcode == CLOSE:
                self.close_code = struct.unpack("!H", payload[:2])[0] if payload else None
                return None
            if opcode == TEXT:
                message = json.loads(payload)
                if message["type"] != "ping":
                    return message

    @property
    def has_news(self):
        """Something has come that was not read."""
        return bool(self.left or select.select([self.socket], [], [], 0)[0])

    def write(self, message):
        self.socket.sendall(frame(json.dumps(message).encode()))

    def log_in(self, token, topics=("alerts", "incidents"), since=None):
        """Authenticate and subscribe; returns the answer."""
        self.write({"type": "auth", "token": token})
        self.write({"type": "subscribe", "topics": list(topics), "since": since})
        return self.read()
