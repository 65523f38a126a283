"""The lab's accounts: one per role and per person, with homes, keys and passwords, in copies of
/etc/passwd, /etc/shadow and /etc/group that only the room sees."""

import os

from . import net


def make(run_dir, plan, servers):
    """Write run_dir/etc, run_dir/home and run_dir/authorized_keys. `servers` is their uid."""
    etc = os.path.join(run_dir, "etc")
    os.mkdir(etc)
    os.mkdir(os.path.join(run_dir, "home"))
    with open(f"{etc}/resolv.conf", "w", encoding="ascii") as file:
        file.write(f"nameserver {plan.resolver}\noptions timeout:2 attempts:2\n")
    people = [(role["name"], role["uid"], None) for role in plan.roles]
    people += [(one["name"], one["uid"], one["password"]) for one in plan.accounts]
    people.append(("labserver", servers, None))
    _accounts(run_dir, people)
    keys = [_home(_home_of(run_dir, uid), name, uid) for name, uid, _ in people]
    with open(os.path.join(run_dir, "authorized_keys"), "w", encoding="ascii") as file:
        file.writelines(keys)


def _home_of(run_dir, uid):
    return os.path.join(run_dir, "home", str(uid))


def _accounts(run_dir, people):
    texts = {}
    for name in ("passwd", "group", "shadow"):
        with open(f"/etc/{name}", encoding="utf-8") as file:
            texts[name] = file.read()
    for name, uid, password in people:
        secret = "!"
        if password:
            secret = net.run("openssl", "passwd", "-6", "-stdin", stdin=password).strip()
        texts["passwd"] += f"{name}:x:{uid}:{uid}::{_home_of(run_dir, uid)}:/bin/sh\n"
        texts["group"] += f"{name}:x:{uid}:\n"
        texts["shadow"] += f"{name}:{secret}:19000:0:99999:7:::\n"
    for name, text in texts.items():
        path = os.path.join(run_dir, "etc", name)
        with open(path, "w", encoding="utf-8") as file:
            os.chmod(path, 0o600 if name == "shadow" else 0o644)
            file.write(text)


def _home(home, name, uid):
    """Make a home with a key of its own; returns the public key."""
    os.mkdir(home)
    key = os.path.join(home, "key")
    net.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", key)
    with open(f"{home}/notes.txt", "w", encoding="ascii") as file:
        file.write("remember the milk\n" * (uid % 40 + 5))
    for path in (home, key, f"{key}.pub", f"{home}/notes.txt"):
        os.chown(path, uid, uid)
    with open(f"{key}.pub", encoding="ascii") as file:
        return file.read()
