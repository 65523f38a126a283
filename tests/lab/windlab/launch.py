"""Starts programs inside hosts: in the host's namespace, under a role's uid, with the lab's own
/etc/passwd, /etc/shadow and /etc/resolv.conf (bound over the real ones in a private mount
namespace, so the machine never sees them)."""

import contextlib
import os
import signal
import subprocess

ACTOR_FIRST, ACTOR_LAST = 20000, 20999  # who starts conversations: the truth looks at these
SERVER_UID = 21000  # nginx, dnsmasq, ntp
USER_FIRST = 21001  # accounts that people log in to

BIND = """
for file in passwd shadow group resolv.conf; do
    mount --bind "$ETC/$file" "/etc/$file" || exit 1
done
mount -t tmpfs -o mode=755 tmpfs /run && mkdir /run/sshd && exec "$@"
"""


def is_actor(uid):
    """Does this uid start conversations (rather than answer)?"""
    return ACTOR_FIRST <= uid <= ACTOR_LAST


def _switch_to(uid, raw):
    argv = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
    if raw:  # nmap: raw sockets, and nothing else of root
        argv += ["--inh-caps=+net_raw", "--ambient-caps=+net_raw"]
    return argv


class Launcher:
    """Starts and ends the programs of one run; each has a log file of its own."""

    def __init__(self, network, run_dir):
        self.network = network
        self.run_dir = run_dir
        self.children = []

    def start(self, host, argv, uid=0, raw=False, tag=None):
        """Start a program on a host; uid 0 stays root (sshd)."""
        home = os.path.join(self.run_dir, "home", str(uid))
        env = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": home,
            "LANG": "C.UTF-8",
            "ETC": os.path.join(self.run_dir, "etc"),
        }
        command = ["ip", "netns", "exec", self.network.name(host), "sh", "-c", BIND, "sh"]
        command += _switch_to(uid, raw) if uid else []
        name = tag or f"{host}-{os.path.basename(argv[0])}"
        with open(os.path.join(self.run_dir, "log", name), "ab") as log:
            child = subprocess.Popen(
                [*command, *argv],
                env=env,
                cwd=home if os.path.isdir(home) else self.run_dir,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.children.append((name, child))
        return child

    def log_tail(self, name, lines=8):
        with open(os.path.join(self.run_dir, "log", name), errors="replace") as log:
            return "".join(log.readlines()[-lines:]).strip()

    def close(self):
        """End what still runs (whole sessions: a program may have children)."""
        for _, child in self.children:
            if child.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGTERM)
        for _, child in self.children:
            try:
                child.wait(3)
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        self.children = []
