"""Programs that fetch over HTTPS with curl: an update check, an API, a download, an upload."""

from actor import Actor

CURL = ("curl", "-sk", "-o", "/dev/null", "--max-time", "30")


def fetch(actor, name, pages):
    """One run of such a program: one to four requests on one connection or several."""
    base = f"https://{name}"
    kind = actor.rng.random()
    if kind < 0.35:
        urls = [f"{base}/api/news" for _ in range(actor.rng.randrange(1, 4))]
        return actor.run(*CURL, *urls)
    if kind < 0.7:
        return actor.run(*CURL, f"{base}/{actor.rng.choice(pages)}")
    if kind < 0.85:
        return actor.run(*CURL, f"{base}/files/{actor.rng.randrange(3)}.bin")
    if kind < 0.9:
        return actor.run(*CURL, f"{base}/{actor.rng.randrange(1000)}.html")  # not there
    body = "x" * actor.rng.randrange(50, 4000)
    return actor.run(*CURL, "-d", body, f"{base}/submit")


def main():
    actor = Actor()
    targets = actor.with_service("web")
    while actor.think(actor.option("think_s", 15)):
        target = actor.rng.choice(targets)
        fetch(actor, target["names"][0], target["pages"])
    actor.done()


if __name__ == "__main__":
    main()
