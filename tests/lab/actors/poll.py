"""A health check from cron: the same short request, again and again. Regular, and harmless."""

from actor import Actor


def main():
    actor = Actor()
    every = actor.option("interval_s", 60)
    wobble = actor.option("wobble_s", 0.3)  # how late cron and the machine are
    going = actor.wait(actor.rng.uniform(0, min(every, 20)))
    while going:
        target = actor.rng.choice(actor.with_service("web")[:1])
        url = f"https://{target['names'][0]}/health"
        actor.run("curl", "-sk", "-o", "/dev/null", "--max-time", "10", url)
        going = actor.wait(every + actor.rng.uniform(0, wobble))
    actor.done()


if __name__ == "__main__":
    main()
