"""Port scans and host sweeps by nmap. Raw sockets come from CAP_NET_RAW; never as root."""

from actor import Actor

COMMON = ("nmap", "--privileged", "-n", "--send-ip", "--disable-arp-ping", "--max-retries", "1")
KINDS = {"syn": "-sS", "connect": "-sT", "udp": "-sU", "null": "-sN", "fin": "-sF", "xmas": "-sX"}
UDP = (53, 67, 69, 111, 123, 135, 137, 161, 162, 500, 514, 520, 631, 1434, 1900, 4500, 5353)


def ports(actor, step):
    """The well-known ones, and as many others as the step wants, in nmap's own random order."""
    if step["kind"] == "udp":
        chosen = actor.rng.sample(UDP, min(step.get("ports", 12), len(UDP)))
    else:
        known = [21, 22, 23, 25, 53, 80, 110, 139, 143, 443, 445, 3306, 3389, 5432, 8080]
        others = actor.rng.sample(range(1, 65536), step.get("ports", 300))
        chosen = sorted(set((known + others)[: step.get("ports", 300)]))
    return ",".join(map(str, chosen))


def scan(actor, step, targets):
    speed = f"-T{step.get('speed', 4)}"
    if step["kind"] == "sweep":
        probes = step.get("probes", ["-PE", "-PS22,443"])
        actor.run(*COMMON, speed, "-sn", *probes, *actor.option("net", []), timeout=300)
        return
    chosen = [target["ip"] for target in targets[: step.get("targets", 1)]]
    kind = KINDS[step["kind"]]
    actor.run(*COMMON, speed, "-Pn", kind, "-p", ports(actor, step), *chosen, timeout=300)


def main():
    actor = Actor()
    targets = actor.rng.sample(actor.targets, len(actor.targets))
    for step in actor.option("steps"):
        scan(actor, step, targets)
        if not actor.wait(step.get("pause_s", 5) * actor.rng.uniform(0.7, 1.3)):
            break
    actor.done()


if __name__ == "__main__":
    main()
