"""rsync over SSH: some files change, then only the changes travel; sometimes they come back."""

import os

from actor import Actor

SHELL = "ssh -i key -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"


def change(actor, folder):
    """Write or rewrite one to three files."""
    for _ in range(actor.rng.randrange(1, 4)):
        name = f"{folder}/{actor.rng.randrange(8)}.dat"
        size = int(actor.rng.lognormvariate(0, 0.7) * actor.option("file_bytes", 20000))
        with open(name, "wb") as file:
            file.write(actor.rng.randbytes(size // 2) + b"wind " * (size // 10))


def main():
    actor = Actor()
    os.makedirs("work", exist_ok=True)
    account = actor.rng.choice(actor.role["accounts"])
    target = actor.rng.choice(actor.with_service("ssh"))
    there = f"{account['name']}@{target['ip']}:{actor.role['name']}/"
    going = actor.wait(actor.rng.uniform(1, 10))
    while going:
        change(actor, "work")
        actor.run("rsync", "-rt", "-e", SHELL, "work/", there)
        if actor.rng.random() < 0.3:
            actor.run("rsync", "-rt", "-e", SHELL, there, "back/")
        going = actor.think(actor.option("pause_s", 45))
    actor.done()


if __name__ == "__main__":
    main()
