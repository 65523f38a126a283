"""Lookups with dig as a client's programs make them: bursts, favourites, now and then a typing
mistake (NXDOMAIN), mail and reverse lookups."""

from actor import Actor

KINDS = ("A",) * 12 + ("AAAA",) * 6 + ("MX", "TXT", "HTTPS")


def lookup(actor, names):
    rank = min(int(actor.rng.paretovariate(0.7)) - 1, len(names) - 1)
    name = names[rank]
    kind = actor.rng.choice(KINDS)
    chance = actor.rng.random()
    if kind in ("MX", "TXT"):
        name = ".".join(name.split(".")[-2:])
    if chance < actor.option("typo", 0.04):
        at = actor.rng.randrange(max(1, len(name) - 8))
        name = name[:at] + actor.rng.choice("qxzjw") + name[at:]
    server = f"@{actor.role['resolver']}"
    if chance > 0.97:
        address = f"10.20.0.{actor.rng.randrange(1, 255)}"
        actor.run("dig", server, "+tries=2", "+time=2", "-x", address)
    else:
        actor.run("dig", server, "+tries=2", "+time=2", name, kind)


def main():
    actor = Actor()
    names = list(actor.role["names"])
    actor.rng.shuffle(names)
    while actor.think(actor.option("think_s", 6)):
        for _ in range(actor.rng.choice((1, 1, 1, 2, 2, 3, 5))):
            lookup(actor, names)
    actor.done()


if __name__ == "__main__":
    main()
