"""A person with a browser: headless Chromium, driven through its debugging pipe, goes to a site,
reads, follows links, goes to the next one."""

import fcntl
import json
import os
import select
import subprocess
import time

from actor import Actor

CHROMIUM = "/usr/lib/chromium/chromium"
QUIET = (
    "AutofillServerCommunication,CertificateTransparencyComponentUpdater,DialMediaRouteProvider,"
    "InterestFeedContentSuggestions,MediaRouter,OptimizationHints,Translate"
)
# Names that Chromium itself asks for: not even a DNS question leaves for them.
NOWHERE = ",".join(
    f"MAP *.{domain} ~NOTFOUND" for domain in ("google.com", "googleapis.com", "gstatic.com")
)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--remote-debugging-pipe",
    "--ignore-certificate-errors",
    "--no-first-run",
    "--no-default-browser-check",
    "--no-pings",
    "--no-service-autorun",
    "--disable-background-networking",
    "--disable-breakpad",
    "--disable-client-side-phishing-detection",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-domain-reliability",
    "--disable-extensions",
    "--disable-sync",
    "--metrics-recording-only",
    "--password-store=basic",
    f"--disable-features={QUIET}",
    f"--host-resolver-rules={NOWHERE}",
)


class Browser:
    """Chromium and the two pipes of its DevTools protocol (JSON, each message ends with NUL)."""

    def __init__(self, home):
        their_in, self.out = (_above_ten(fd) for fd in os.pipe())
        self.inp, their_out = (_above_ten(fd) for fd in os.pipe())

        def place():
            os.dup2(their_in, 3)
            os.dup2(their_out, 4)

        self.process = subprocess.Popen(
            [CHROMIUM, *FLAGS, f"--user-data-dir={home}/chromium", "about:blank"],
            close_fds=False,
            preexec_fn=place,
            stdin=subprocess.DEVNULL,
        )
        os.close(their_in)
        os.close(their_out)
        self.buffer = b""
        self.serial = 0
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = attached["sessionId"]
        self.call("Page.enable")

    def send(self, method, **params):
        self.serial += 1
        message = {"id": self.serial, "method": method, "params": params}
        if hasattr(self, "session"):
            message["sessionId"] = self.session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        return self.serial

    def call(self, method, **params):
        """One command and its answer."""
        serial = self.send(method, **params)
        answer = self.until(lambda message: message.get("id") == serial, 30)
        return (answer or {}).get("result", {})

    def until(self, wanted, seconds):
        """Read messages until one is wanted; None when the time is over."""
        deadline = time.monotonic() + seconds
        while True:
            head, found, rest = self.buffer.partition(b"\0")
            if found:
                self.buffer = rest
                message = json.loads(head)
                if wanted(message):
                    return message
                continue
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.inp], (), (), left)[0]:
                return None
            data = os.read(self.inp, 1 << 16)
            if not data:
                return None
            self.buffer += data

    def visit(self, url):
        """Go to a page and wait for its load event."""
        if "errorText" in self.call("Page.navigate", url=url):
            return False
        return self.loaded()

    def follow(self, number):
        """Click a link of the page, as a person would."""
        click = f"document.links.length && document.links[{number} % document.links.length].click()"
        self.send("Runtime.evaluate", expression=click)
        return self.loaded()

    def loaded(self):
        return bool(self.until(lambda m: m.get("method") == "Page.loadEventFired", 20))

    def close(self):
        self.send("Browser.close")
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()


def _above_ten(fd):
    moved = fcntl.fcntl(fd, fcntl.F_DUPFD, 10)
    os.close(fd)
    return moved


def main():
    actor = Actor()
    browser = Browser(os.environ["HOME"])
    think = actor.option("think_s", 8)
    sites = [target["names"][0] for target in actor.with_service("web")]
    going = True
    while going:
        actor.count(browser.visit(f"https://{actor.rng.choice(sites)}/"))
        for _ in range(actor.rng.randrange(1, 6)):
            going = actor.think(think)
            if not going:
                break
            actor.count(browser.follow(actor.rng.randrange(8)))
        going = going and actor.think(think * 1.5)
    browser.close()
    actor.done()


if __name__ == "__main__":
    main()
