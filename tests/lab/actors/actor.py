"""What every actor of the lab has: its role (a JSON file), a seeded random source, and the time.

An actor runs as its role's uid inside its host. It plays its part with real programs until its
end comes, and writes how often it did and how often that failed.
"""

import json
import os
import random
import subprocess
import sys
import time


class Actor:
    def __init__(self):
        with open(sys.argv[1], encoding="utf-8") as file:
            self.role = json.load(file)
        self.rng = random.Random(self.role["seed"])
        self.targets = self.role["targets"]
        self.good = self.bad = 0
        self._sleep_until(self.role["begin"])

    def option(self, name, default=None):
        return self.role["options"].get(name, default)

    def _sleep_until(self, moment):
        time.sleep(max(0.0, moment - time.monotonic()))

    def left(self):
        """Seconds until this role's end."""
        return self.role["end"] - time.monotonic()

    def wait(self, seconds):
        """Sleep; False when the end comes first."""
        if seconds >= self.left():
            self._sleep_until(self.role["end"])
            return False
        time.sleep(max(0.0, seconds))
        return True

    def think(self, mean):
        """Sleep like somebody who reads: mostly short, sometimes long."""
        return self.wait(min(self.rng.lognormvariate(0, 0.8) * mean, mean * 6))

    def with_service(self, service):
        return [target for target in self.targets if service in target["services"]]

    def run(self, *argv, ok=(0,), **more):
        """Run a real program to its end and count how it went. Returns its output."""
        more.setdefault("stdin", subprocess.DEVNULL)
        done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=False, **more)
        self.count(done.returncode in ok)
        if done.returncode not in ok:
            print(f"{' '.join(argv)}: {done.returncode}", file=sys.stderr, flush=True)
        return done.stdout

    def count(self, good):
        if good:
            self.good += 1
        else:
            self.bad += 1

    def done(self):
        """Leave the result for the recorder."""
        result = {"good": self.good, "bad": self.bad}
        with open(self.role["result"] + ".part", "w", encoding="utf-8") as file:
            json.dump(result, file)
        os.replace(self.role["result"] + ".part", self.role["result"])
