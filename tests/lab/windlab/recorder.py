"""One recording, from the plan to the files: network, relay, mirror, services, actors, truth."""

import hashlib
import json
import multiprocessing
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time

from . import LabError, net, owners, people, room, services, truth, wire
from .launch import SERVER_UID, Launcher, is_actor

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TOOLS = {
    "chromium": ("/usr/lib/chromium/chromium", "--version"),
    "curl": ("curl", "--version"),
    "dig": ("dig", "-v"),
    "dnsmasq": ("dnsmasq", "--version"),
    "hydra": ("hydra", "-h"),
    "nginx": ("nginx", "-v"),
    "nmap": ("nmap", "--version"),
    "python": ("/usr/bin/python3", "--version"),
    "rsync": ("rsync", "--version"),
    "ssh": ("ssh", "-V"),
    "tcpdump": ("tcpdump", "--version"),
}


def tool_versions():
    """What each tool says it is; a missing one is an error before anything starts."""
    versions = {}
    for name, argv in TOOLS.items():
        try:
            done = subprocess.run(argv, capture_output=True, text=True, check=False)
        except FileNotFoundError as error:
            raise LabError(f"{argv[0]} is missing (script/setup --dev installs it)") from error
        found = re.search(r"\d+(\.\d+)+\w*", done.stdout + done.stderr)
        versions[name] = found.group() if found else "unknown"
    return versions


class Recorder:
    """Makes one recording, inside a room, in run_dir/out."""

    def __init__(self, plan, run_dir, snaplen, say):
        self.plan = plan
        self.run_dir = run_dir
        self.snaplen = snaplen
        self.say = say
        self.out = os.path.join(run_dir, "out")
        self.pcap = os.path.join(self.out, "capture.pcap")

    def run(self):
        """Record; a LabError says what went wrong. The room ends whatever was started."""
        versions = tool_versions()
        self._prepare()
        self.say("network")
        network = net.Network()
        for host in self.plan.hosts:
            network.add_host(host)
        relay = multiprocessing.Process(target=wire.relay, args=(network.wires, self.plan.seed))
        relay.start()
        launcher = Launcher(self.run_dir)
        self.say("services")
        services.start_all(launcher, self.plan)
        listener = owners.Owners([host["name"] for host in self.plan.hosts], is_actor)
        listener.start()
        tcpdump = self._capture()
        started = time.time()
        self._act(launcher)
        time.sleep(1.0)  # what is on the wires arrives
        self._end_capture(tcpdump)
        if not relay.is_alive():
            raise LabError("the relay ended early")
        self._finish(versions, started, listener.stop())

    def _prepare(self):
        """Folders, the actors' own copies of their programs, accounts, resolv.conf."""
        for name in ("out", "log", "srv", "roles", "results"):
            os.mkdir(os.path.join(self.run_dir, name))
        os.chmod(os.path.join(self.run_dir, "results"), 0o1777)
        shutil.copytree(os.path.join(HERE, "actors"), os.path.join(self.run_dir, "actors"))
        people.make(self.run_dir, self.plan, SERVER_UID)
        room.replace_etc(os.path.join(self.run_dir, "etc"))

    def _capture(self):
        """tcpdump on the mirror port, from before the first packet."""
        errors = os.path.join(self.run_dir, "log", "tcpdump")
        argv = ["tcpdump", "-i", net.MIRROR, "-n", "-Z", "root", "-B", "65536"]
        argv += ["-s", str(self.snaplen), "-w", self.pcap]
        with open(errors, "wb") as log, net.inside(net.SWITCH):
            child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + 10
        while "listening on" not in self._text(errors):
            if child.poll() is not None or time.monotonic() > deadline:
                raise LabError(f"tcpdump does not start: {self._text(errors).strip()}")
            time.sleep(0.05)
        return child

    @staticmethod
    def _text(path):
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def _end_capture(self, child):
        child.send_signal(signal.SIGINT)
        child.wait(20)
        said = self._text(os.path.join(self.run_dir, "log", "tcpdump"))
        dropped = re.search(r"(\d+) packets? dropped by kernel", said)
        if dropped is None or int(dropped.group(1)):
            raise LabError(f"the capture has holes: {said.strip()}")

    def _act(self, launcher):
        """Start every role, show the time, wait until all have ended."""
        begin = time.monotonic() + 0.5
        children = []
        for role in self.plan.roles:
            children.append((role, self._start(launcher, role, begin)))
        end = begin + self.plan.duration_s
        while time.monotonic() < end + 30:
            alive = [role["name"] for role, child in children if child.poll() is None]
            for role, child in children:
                if child.returncode:
                    self._result(launcher, role, child)
            if not alive:
                break
            now = max(0, time.monotonic() - begin)
            self.say(
                f"{now:4.0f} / {self.plan.duration_s} s, {len(alive)} roles at work", tick=True
            )
            time.sleep(0.5)
        for role, child in children:
            self._result(launcher, role, child)

    def _start(self, launcher, role, begin):
        path = os.path.join(self.run_dir, "roles", f"{role['name']}.json")
        what = dict(
            role,
            begin=begin + role["start_s"],
            end=begin + role["end_s"],
            resolver=self.plan.resolver,
            names=sorted(self.plan.names),
            accounts=self.plan.accounts,
            result=os.path.join(self.run_dir, "results", role["name"]),
        )
        with open(path, "w", encoding="utf-8") as file:
            json.dump(what, file)
        os.chown(path, role["uid"], role["uid"])
        script = os.path.join(self.run_dir, "actors", f"{role['actor']}.py")
        raw = role["tool"] == "nmap"
        argv = ["/usr/bin/python3", "-B", script, path]
        return launcher.start(role["host"], argv, role["uid"], raw, tag=role["name"])

    def _result(self, launcher, role, child):
        """A role that failed, or never succeeded, is a broken recording, not a quiet one."""
        path = os.path.join(self.run_dir, "results", role["name"])
        if child.poll() != 0 or not os.path.exists(path):
            raise LabError(f"{role['name']} ended badly: {launcher.log_tail(role['name'])}")
        with open(path, encoding="utf-8") as file:
            role["result"] = json.load(file)
        tried = role["result"]["bad"] or role["label"] != "benign"
        if tried and role["result"]["good"] == 0:
            raise LabError(f"{role['name']} never succeeded: {launcher.log_tail(role['name'])}")

    def _finish(self, versions, started, heard):
        self.say("truth")
        found = truth.make(self.pcap, heard, self.plan.roles)
        if found.unknown:
            raise LabError(
                f"{len(found.unknown)} packets belong to nobody, the first: {found.unknown[0][1]}"
            )
        found.write(os.path.join(self.out, "truth.csv"))
        with open(os.path.join(self.out, "meta.json"), "w", encoding="utf-8") as file:
            json.dump(self._meta(versions, started, found), file, indent=1)
            file.write("\n")

    def _meta(self, versions, started, found):
        plan = self.plan
        labels = {label: {"flows": 0, "packets": n} for label, n in sorted(found.packets.items())}
        for row in found.rows:
            labels[row[6]]["flows"] += 1
        with open(self.pcap, "rb") as file:
            data = file.read()
        return {
            "format": 1,
            "scenario": plan.name,
            "scenario_sha256": plan.digest,
            "seed": plan.seed,
            "started": truth.rfc3339(int(started * 1e6)),
            "duration_s": plan.duration_s,
            "snaplen": self.snaplen,
            "capture": {
                "packets": sum(found.packets.values()),
                "bytes": len(data),
                "sha256": hashlib.sha256(data).hexdigest(),
            },
            "labels": labels,
            "hosts": [_host(host, plan.roles) for host in plan.hosts],
            "activities": [_activity(role) for role in plan.roles],
            "tools": versions,
            "kernel": platform.release(),
        }


def _host(host, roles):
    keys = ("name", "ip", "role", "names", "services", "delay_ms", "jitter_ms", "loss", "rate_mbit")
    started = sorted({role["label"] for role in roles if role["host"] == host["name"]})
    return dict({key: host[key] for key in keys if key in host}, labels=started)


def _activity(role):
    keys = ("scenario", "tool", "host", "label", "start_s", "end_s", "options", "result")
    targets = [target["ip"] for target in role["targets"]]
    return dict({key: role[key] for key in keys}, targets=targets)


def progress(stream=sys.stderr):
    """A say() that keeps one line on a terminal, and prints only the steps elsewhere."""
    terminal = stream.isatty()

    def say(text, tick=False, last=False):
        if terminal:
            stream.write(f"\r\033[Kwind-lab: {text}" + "\n" * last)
            stream.flush()
        elif not tick:
            print(f"wind-lab: {text}", file=stream, flush=True)

    return say
