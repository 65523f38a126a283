"""A person at work over SSH: types commands into a remote shell, with a key or a password;
now and then the password is mistyped once or twice before it is right."""

import os
import subprocess

from actor import Actor

COMMANDS = (
    "ls -l",
    "date",
    "uptime",
    "df -h /",
    "pwd",
    "cat notes.txt",
    "head -c 3000 /usr/share/common-licenses/GPL-2",
    "ls /usr/bin | head -150",
    "ps | head",
    "id",
    "seq 1 120",
)
SSH = ("ssh", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null")
ASKPASS = """#!/bin/sh
# Says wrong passwords first: as many as the counter file says.
left=$(cat "$HOME/mistakes")
if [ "$left" -gt 0 ]; then
    echo $((left - 1)) >"$HOME/mistakes"
    echo "{password}" | tr 'a-m' 'n-z'
else
    echo "{password}"
fi
"""


def with_password(actor, account):
    """Environment and options of a login by password."""
    home = os.environ["HOME"]
    path = f"{home}/askpass"
    with open(path, "w", encoding="ascii") as file:
        file.write(ASKPASS.format(password=account["password"]))
    os.chmod(path, 0o700)
    mistakes = actor.rng.choice((1, 1, 2)) if actor.rng.random() < actor.option("typo", 0) else 0
    with open(f"{home}/mistakes", "w", encoding="ascii") as file:
        file.write(str(mistakes))
    more = {"SSH_ASKPASS": path, "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": ":0"}
    return ("-o", "PubkeyAuthentication=no"), dict(os.environ, **more)


def type_commands(actor, shell):
    """Type some commands, key by key in small groups; False when the end came."""
    for _ in range(actor.rng.randrange(2, 7)):
        line = actor.rng.choice(COMMANDS) + "\n"
        while line:
            some = actor.rng.randrange(1, 4)
            shell.stdin.write(line[:some].encode())
            shell.stdin.flush()
            line = line[some:]
            if not actor.wait(actor.rng.uniform(0.06, 0.3)):
                return False
        if not actor.think(actor.option("think_s", 4)):
            return False
    return True


def session(actor):
    account = actor.rng.choice(actor.role["accounts"])
    target = actor.rng.choice(actor.with_service("ssh"))
    options, env = ("-i", "key"), dict(os.environ)
    if actor.rng.random() < actor.option("password", 0.4):
        options, env = with_password(actor, account)
    argv = [*SSH, *options, "-tt", f"{account['name']}@{target['ip']}"]
    with subprocess.Popen(
        argv, env=env, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True
    ) as shell:
        try:
            going = actor.wait(1.5) and type_commands(actor, shell)
            shell.stdin.write(b"exit 0\n")
            shell.stdin.flush()
        except BrokenPipeError:
            going = True
        shell.stdin.close()
        try:
            actor.count(shell.wait(8) == 0)
        except subprocess.TimeoutExpired:
            shell.kill()
            actor.count(False)
    return going


def main():
    actor = Actor()
    while actor.left() > 12:
        if not session(actor) or not actor.think(actor.option("pause_s", 20)):
            break
    actor.done()


if __name__ == "__main__":
    main()
