"""Password guessing by hydra against sshd; its small word list never holds the right one."""

from actor import Actor

NAMES = ["root", "admin", "test", "oracle", "git", "postgres", "ubuntu", "backup", "guest", "pi"]
WORDS = (
    "123456 password qwerty letmein admin root toor welcome dragon monkey summer winter secret "
    "changeme passw0rd abc123 iloveyou master login test guest raspberry oracle postgres"
).split()


def main():
    actor = Actor()
    people = [account["name"] for account in actor.role["accounts"]]
    names = actor.rng.sample(NAMES + people, actor.option("users", 4))
    words = actor.rng.sample(WORDS, actor.option("words", 15))
    for path, lines in (("names", names), ("words", words)):
        with open(path, "w", encoding="ascii") as file:
            file.write("\n".join(lines) + "\n")
    pace = ("-t", str(actor.option("tasks", 4)), "-W", str(actor.option("wait_s", 0)))
    for target in actor.with_service("ssh")[: actor.option("targets", 1)]:
        server = f"ssh://{target['ip']}"
        lists = ("-L", "names", "-P", "words")
        seconds = max(5, actor.left() - 2)
        actor.run(
            "timeout", str(seconds), "hydra", "-I", "-K", *pace, *lists, server, ok=(0, 124, 255)
        )
    actor.done()


if __name__ == "__main__":
    main()
