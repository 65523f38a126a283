"""Reads a scenario file and, with a seed, makes the plan of a run: hosts with addresses and
delays, names, accounts, and one role (with a uid of its own) per activity and host.

Wherever a scenario's options hold {"range": [a, b]} or {"choice": [...]}, the seed decides.
"""

import fnmatch
import hashlib
import ipaddress
import json
import random

from . import LabError
from .launch import ACTOR_FIRST, ACTOR_LAST, USER_FIRST

LABELS = ("benign", "port_scan", "brute_force", "beacon")
ROLES = ("server", "client", "attacker", "infected", "external", "c2", "dark")
# One way between a host and the switch, in ms: a round trip is twice the sum of both ends.
DELAY_MS = {"external": (4, 36), "c2": (10, 38)}
DELAY_NEAR_MS = (0.25, 2.5)
OUTSIDE = [f"{net}.{i}" for net in ("198.51.100", "203.0.113", "192.0.2") for i in range(10, 250)]
USERS = ("alice", "bob", "carol", "dave", "erin", "frank")
SITES = "news shop maps forum video books radio recipes weather travel photos games".split()
HOSTS_OF_SITE = "www cdn api img static mail login assets".split()
HOST_KEYS = {"name", "count", "role", "services", "ip", "names", "delay_ms", "jitter_ms", "loss"}
ACTIVITY_KEYS = {"actor", "scenario", "tool", "label", "hosts", "targets", "sample", "options"}
ACTIVITY_KEYS |= {"start_s", "end_s"}


def draw(rng, value):
    """Resolve {"range": ..} and {"choice": ..}, however deep."""
    if isinstance(value, dict):
        if set(value) == {"range"}:
            low, high = value["range"]
            whole = isinstance(low, int) and isinstance(high, int)
            return rng.randint(low, high) if whole else round(rng.uniform(low, high), 3)
        if set(value) == {"choice"}:
            return rng.choice(value["choice"])
        return {key: draw(rng, item) for key, item in value.items()}
    if isinstance(value, list):
        return [draw(rng, item) for item in value]
    return value


class Plan:
    """Everything a run does, decided before it starts."""

    def __init__(self, path, seed, duration=None):
        with open(path, "rb") as file:
            text = file.read()
        try:
            self.scenario = json.loads(text)
        except ValueError as error:
            raise LabError(f"{path}: {error}") from error
        self.digest = hashlib.sha256(text).hexdigest()
        self.seed = seed
        self.rng = random.Random(f"{seed}/plan")
        self.name = self.scenario["name"]
        self.duration_s = duration or self.scenario["duration_s"]
        self.site_size = draw(self.rng, self.scenario.get("site_size", 1.0))
        self.dark_net = self.scenario["dark_net"]
        self.hosts = self._hosts()
        self.domains, self.names = self._names()
        self.resolver = next(host["ip"] for host in self.hosts if "dns" in host["services"])
        self.accounts = self._accounts()
        self.roles = self._roles()

    def _hosts(self):
        """Expand counts, give each host an address, a delay and a rate."""
        net = ipaddress.ip_network(self.scenario["net"])
        dark = ipaddress.ip_network(self.dark_net)
        inside = [str(ip) for ip in net.hosts() if ip not in dark]
        pools = {True: inside, False: list(OUTSIDE)}
        for pool in pools.values():
            self.rng.shuffle(pool)
        hosts = []
        for entry in self.scenario["hosts"]:
            _check(entry, HOST_KEYS, "host")
            entry = draw(self.rng, entry)
            count = entry.pop("count", None)
            for i in range(count or 1):
                host = dict(entry, name=entry["name"] + (str(i + 1) if count else ""))
                hosts.append(self._complete(host, pools))
        hosts.append(self._complete({"name": "dark", "role": "dark", "ip": str(dark[1])}, pools))
        hosts[-1]["dark_net"] = self.dark_net
        return hosts

    def _complete(self, host, pools):
        role = host.setdefault("role", "client")
        if role not in ROLES:
            raise LabError(f"host {host['name']}: unknown role {role!r}")
        near = role not in DELAY_MS
        if "ip" not in host:
            host["ip"] = pools[near].pop()
        low, high = DELAY_MS.get(role, DELAY_NEAR_MS)
        host.setdefault("delay_ms", round(self.rng.uniform(low, high), 2))
        spread = (0.02, 0.3) if near else (0.2, 2.0)
        host.setdefault("jitter_ms", round(self.rng.uniform(*spread), 3))
        host.setdefault("loss", round(self.rng.uniform(0, 0.0005 if near else 0.003), 5))
        host.setdefault("rate_mbit", self.rng.choice((100, 1000) if near else (20, 50, 100)))
        host.setdefault("services", [])
        return host

    def _names(self):
        """DNS names: those of hosts, and those that people only look up."""
        domains = ["corp.lab"]
        names = {}
        sites = [f"{site}.example" for site in SITES]
        self.rng.shuffle(sites)
        for host in self.hosts:
            if host["role"] in ("external", "c2"):
                domain = sites.pop()
                domains.append(domain)
                host["names"] = host.get("names") or [f"www.{domain}", domain]
            elif host["role"] != "dark":
                host["names"] = host.get("names") or [f"{host['name']}.corp.lab"]
            for name in host.get("names", ()):
                names[name] = host["ip"]
        for domain in sites:
            domains.append(domain)
            for prefix in self.rng.sample(HOSTS_OF_SITE, self.rng.randrange(2, 7)):
                names[f"{prefix}.{domain}"] = self.rng.choice(OUTSIDE)
        return domains, names

    def names_of(self, host):
        return host.get("names") or [host["name"]]

    def _accounts(self):
        alphabet = "abcdefghkmnpqrstuvwxyz23456789"
        return [
            {
                "name": name,
                "uid": USER_FIRST + i,
                "password": "".join(self.rng.choice(alphabet) for _ in range(12)),
            }
            for i, name in enumerate(USERS)
        ]

    def _match(self, patterns, what):
        found = []
        for pattern in patterns:
            service = pattern.partition("service:")[2]
            for host in self.hosts:
                if host["role"] == "dark" or host in found:
                    continue
                hit = service in host["services"] if service else False
                if hit or (not service and fnmatch.fnmatch(host["name"], pattern)):
                    found.append(host)
        if not found:
            raise LabError(f"{self.name}: no host is {patterns} ({what})")
        return found

    def _roles(self):
        """One role per activity and host: a uid, a seed, times and options of its own."""
        roles = []
        for activity in self.scenario["activities"]:
            _check(activity, ACTIVITY_KEYS, "activity")
            if activity["label"] not in LABELS:
                raise LabError(f"unknown label {activity['label']!r}")
            for host in self._match(activity["hosts"], activity["actor"]):
                role = self._role(activity, host, ACTOR_FIRST + len(roles))
                if role["targets"]:  # nobody is a client of itself
                    roles.append(role)
        if len(roles) > ACTOR_LAST - ACTOR_FIRST:
            raise LabError(f"{self.name}: more than {ACTOR_LAST - ACTOR_FIRST} roles")
        return roles

    def _role(self, activity, host, uid):
        targets = [t for t in self._match(activity.get("targets", ["*"]), "target") if t != host]
        sample = draw(self.rng, activity.get("sample", 0))
        if sample:
            targets = self.rng.sample(targets, min(sample, len(targets)))
        start = draw(self.rng, activity.get("start_s", 0))
        end = draw(self.rng, activity.get("end_s", self.duration_s))
        return {
            "name": f"{activity['scenario']}-{uid - ACTOR_FIRST}",
            "uid": uid,
            "actor": activity["actor"],
            "scenario": activity["scenario"],
            "tool": activity["tool"],
            "label": activity["label"],
            "host": host["name"],
            "targets": targets,
            "start_s": min(start, self.duration_s),
            "end_s": min(end, self.duration_s),
            "options": draw(self.rng, activity.get("options", {})),
            "seed": f"{self.seed}/{uid}",
        }


def _check(entry, known, what):
    unknown = set(entry) - known
    if unknown:
        raise LabError(f"{what}: unknown setting {sorted(unknown)[0]!r}")
