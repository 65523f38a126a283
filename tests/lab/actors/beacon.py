"""Command and control, as implants do it: a short HTTPS check-in at a jittered interval, now and
then a task with a larger answer and an upload of its result. Harmless: it runs nothing."""

import base64
import http.client
import socket
import ssl
import time

from actor import Actor

AGENT = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:115.0) Gecko/20100101 Firefox/115.0"


class Server:
    """The server's name, and its address for as long as a resolver would keep it."""

    def __init__(self, name):
        self.name = name
        self.address, self.fresh = None, 0.0
        self.context = ssl.create_default_context()
        self.context.check_hostname = False
        self.context.verify_mode = ssl.CERT_NONE

    def request(self, method, path, body=None):
        """One request on a connection of its own; True if it was answered."""
        if time.monotonic() > self.fresh:
            self.address, self.fresh = socket.gethostbyname(self.name), time.monotonic() + 300
        link = http.client.HTTPConnection(self.name)
        plain = socket.create_connection((self.address, 443), timeout=10)
        with self.context.wrap_socket(plain, server_hostname=self.name) as link.sock:
            link.request(method, path, body, {"User-Agent": AGENT, "Connection": "close"})
            answer = link.getresponse()
            answer.read()
            return answer.status == 200


def check_in(actor, server):
    """Say that we are here; sometimes there is something to do, with a result to send."""
    status = base64.b64encode(actor.rng.randbytes(actor.rng.randrange(40, 90))).decode()
    with_body = actor.option("method", "POST") == "POST"
    path = "/submit" if with_body else f"/submit?id={status}"
    busy = actor.rng.random() < actor.option("task", 0.05)
    try:
        good = server.request("POST" if with_body else "GET", path, status if with_body else None)
        if busy:
            server.request("GET", f"/files/{actor.rng.randrange(3)}.bin")
            server.request("POST", "/submit", actor.rng.randbytes(actor.rng.randrange(500, 3000)))
        return good
    except OSError:
        return False


def main():
    actor = Actor()
    every, jitter = actor.option("interval_s", 8), actor.option("jitter", 0.25)
    server = Server(actor.with_service("web")[0]["names"][0])
    actor.count(check_in(actor, server))
    while actor.wait(every * actor.rng.uniform(1 - jitter, 1 + jitter)):
        actor.count(check_in(actor, server))
    actor.done()


if __name__ == "__main__":
    main()
