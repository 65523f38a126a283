"""One recording, from the plan to the files: network, relay, mirror, services, actors, truth."""

import contextlib
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
import tempfile
import time

from . import LabError, net, owners, services, truth, wire
from .launch import Launcher, is_actor

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
    """Makes one recording in `out`. run() leaves nothing behind but its files."""

    def __init__(self, plan, out, snaplen, say):
        self.plan = plan
        self.out = out
        self.snaplen = snaplen
        self.say = say
        self.run_dir = tempfile.mkdtemp(prefix=f"{net.PREFIX}{os.getpid()}-")
        os.chmod(self.run_dir, 0o755)
        self.pcap = os.path.join(self.run_dir, "capture.pcap")
        self.heard = {}

    def run(self):
        """Record. Raises LabError; whatever happens, everything started is ended."""
        versions = tool_versions()
        try:
            with contextlib.ExitStack() as stack:
                started = self._record(stack)
            self._finish(versions, started)
        finally:
            shutil.rmtree(self.run_dir, ignore_errors=True)

    def _record(self, stack):
        self._prepare()
        self.say("network")
        network = stack.enter_context(net.Network())
        network.start_switch()
        for host in self.plan.hosts:
            network.add_host(host)
        relay = multiprocessing.Process(
            target=wire.relay, args=(network.wires, self.plan.seed), daemon=True
        )
        relay.start()
        stack.callback(relay.join)
        stack.callback(relay.terminate)
        launcher = Launcher(network, self.run_dir)
        stack.callback(launcher.close)
        self.say("services")
        services.start_all(launcher, self.plan)
        names = [network.name(host["name"]) for host in self.plan.hosts]
        listener = owners.Owners(names, is_actor)
        listener.start()
        stack.callback(listener.process.kill)
        tcpdump = self._capture(stack, network)
        started = time.time()
        self._act(launcher)
        time.sleep(1.0)  # what is on the wires arrives
        self._end_capture(tcpdump)
        self.heard = listener.stop()
        return started

    def _prepare(self):
        """Folders, the actors' own copies of their programs, accounts, keys, resolv.conf."""
        for name in ("etc", "home", "log", "srv", "roles", "results"):
            os.mkdir(os.path.join(self.run_dir, name))
        os.chmod(os.path.join(self.run_dir, "results"), 0o1777)
        shutil.copytree(os.path.join(HERE, "actors"), os.path.join(self.run_dir, "actors"))
        etc = os.path.join(self.run_dir, "etc")
        with open(f"{etc}/resolv.conf", "w", encoding="ascii") as file:
            file.write(f"nameserver {self.plan.resolver}\noptions timeout:2 attempts:2\n")
        people = [(role["name"], role["uid"], None) for role in self.plan.roles]
        people += [(one["name"], one["uid"], one["password"]) for one in self.plan.accounts]
        people += [("labserver", services.SERVER_UID, None)]
        self._accounts(etc, people)
        keys = [self._home(uid, name) for name, uid, _ in people]
        with open(f"{etc}/authorized_keys", "w", encoding="ascii") as file:
            file.writelines(keys)

    def _accounts(self, etc, people):
        texts = {name: "" for name in ("passwd", "group", "shadow")}
        for name in texts:
            with open(f"/etc/{name}", encoding="utf-8") as file:
                texts[name] = file.read()
        for name, uid, password in people:
            home = os.path.join(self.run_dir, "home", str(uid))
            secret = "!"
            if password:
                secret = net.run("openssl", "passwd", "-6", "-stdin", stdin=password).strip()
            texts["passwd"] += f"{name}:x:{uid}:{uid}::{home}:/bin/sh\n"
            texts["group"] += f"{name}:x:{uid}:\n"
            texts["shadow"] += f"{name}:{secret}:19000:0:99999:7:::\n"
        for name, text in texts.items():
            path = f"{etc}/{name}"
            with open(path, "w", encoding="utf-8") as file:
                os.chmod(path, 0o600 if name == "shadow" else 0o644)
                file.write(text)

    def _home(self, uid, name):
        """A home with a key of its own; returns the public key."""
        home = os.path.join(self.run_dir, "home", str(uid))
        os.mkdir(home)
        key = os.path.join(home, "key")
        net.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", key)
        with open(f"{home}/notes.txt", "w", encoding="ascii") as file:
            file.write("remember the milk\n" * (uid % 40 + 5))
        for path in (home, key, f"{key}.pub", f"{home}/notes.txt"):
            os.chown(path, uid, uid)
        with open(f"{key}.pub", encoding="ascii") as file:
            return file.read()

    def _capture(self, stack, network):
        """tcpdump on the mirror port, from before the first packet."""
        errors = os.path.join(self.run_dir, "log", "tcpdump")
        argv = ["ip", "netns", "exec", network.switch, "tcpdump", "-i", "span1", "-n", "-Z", "root"]
        argv += ["-B", "65536", "-s", str(self.snaplen), "-w", self.pcap]
        with open(errors, "wb") as log:
            child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        stack.callback(child.kill)
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
        """A role that did nothing right is a broken recording, not a quiet one."""
        path = os.path.join(self.run_dir, "results", role["name"])
        if child.poll() is None or not os.path.exists(path):
            raise LabError(f"{role['name']} ended badly: {launcher.log_tail(role['name'])}")
        with open(path, encoding="utf-8") as file:
            role["result"] = json.load(file)
        idle = role["end_s"] - role["start_s"] < role["options"].get("interval_s", 0) * 2
        if role["result"]["good"] == 0 and not idle:
            raise LabError(f"{role['name']} never succeeded: {launcher.log_tail(role['name'])}")

    def _finish(self, versions, started):
        self.say("truth")
        found = truth.make(self.pcap, self.heard, self.plan.roles)
        if found.unknown:
            raise LabError(
                f"{len(found.unknown)} packets belong to nobody, the first: {found.unknown[0][1]}"
            )
        os.makedirs(self.out, exist_ok=True)
        found.write(os.path.join(self.out, "truth.csv"))
        shutil.copyfile(self.pcap, os.path.join(self.out, "capture.pcap"))
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

    def say(text, tick=False):
        if terminal:
            stream.write(f"\r\033[Kwind-lab: {text}")
            stream.flush()
        elif not tick:
            print(f"wind-lab: {text}", file=stream, flush=True)

    return say
