"""Starts programs inside hosts: in the host's network namespace, under a role's uid."""

import os
import subprocess

from . import net

ACTOR_FIRST, ACTOR_LAST = 20000, 20999  # who starts conversations: the truth looks at these
SERVER_UID = 21000  # nginx, dnsmasq, ntp
USER_FIRST = 21001  # accounts that people log in to


def is_actor(uid):
    """Does this uid start conversations (rather than answer)?"""
    return ACTOR_FIRST <= uid <= ACTOR_LAST


def _switch_to(uid, raw):
    argv = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
    if raw:  # nmap: raw sockets, and nothing else of root
        argv += ["--inh-caps=+net_raw", "--ambient-caps=+net_raw"]
    return argv


class Launcher:
    """Starts the programs of one run; each has a log file of its own. The room ends them."""

    def __init__(self, run_dir):
        self.run_dir = run_dir

    def start(self, host, argv, uid=0, raw=False, tag=None):
        """Start a program on a host; uid 0 stays root (sshd)."""
        home = os.path.join(self.run_dir, "home", str(uid))
        env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": home, "LANG": "C.UTF-8"}
        command = [*_switch_to(uid, raw), *argv] if uid else argv
        name = tag or f"{host}-{os.path.basename(argv[0])}"
        with open(os.path.join(self.run_dir, "log", name), "ab") as log, net.inside(host):
            return subprocess.Popen(
                command,
                env=env,
                cwd=home if os.path.isdir(home) else self.run_dir,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def log_tail(self, name, lines=8):
        """The last lines that a program wrote."""
        path = os.path.join(self.run_dir, "log", name)
        with open(path, encoding="utf-8", errors="replace") as log:
            return "".join(log.readlines()[-lines:]).strip()
