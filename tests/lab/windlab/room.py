"""A closed room for one recording: a process with its own process ids and its own mounts, where
everything else of the run lives. However that process ends, the kernel ends every process in the
room and frees its mounts and network namespaces: nothing can be left behind but the run's folder.

The room sees the lab's own passwd, shadow, group and resolv.conf, and an empty /run.
"""

import ctypes
import os
import shutil
import signal
import tempfile

from . import LabError

PREFIX = "wind-lab-"
CLONE_NEWNS, CLONE_NEWPID = 0x20000, 0x20000000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True)


def call(name, *args):
    """A system call by its libc name; a failure is a LabError."""
    ready = [arg.encode() if isinstance(arg, str) else arg for arg in args]
    if getattr(_libc, name)(*ready) != 0:
        raise LabError(f"{name}{args}: {os.strerror(ctypes.get_errno())}")


def mount(source, target, kind=None, flags=0, options=None):
    call("mount", source, target, kind, ctypes.c_ulong(flags), options)


def _private_mounts():
    """Mounts of our own from here on, also below a chroot, whose root is no mount point: there,
    propagation can only be changed from the real root, so go there and come back."""
    call("unshare", CLONE_NEWNS)
    root = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    with open("/proc/self/ns/mnt", "rb") as own:
        call("setns", own.fileno(), CLONE_NEWNS)
    mount(None, "/", None, MS_REC | MS_PRIVATE)
    os.fchdir(root)
    os.chroot(".")
    os.close(root)
    mount("proc", "/proc", "proc")
    mount("tmpfs", "/run", "tmpfs", 0, "mode=755")
    os.mkdir("/run/sshd")


def replace_etc(folder):
    """Put the lab's files over those of /etc, for this room only."""
    for name in os.listdir(folder):
        target = os.path.realpath(f"/etc/{name}")
        if not os.path.exists(target):  # a link into the /run that is hidden now
            if not target.startswith("/run/"):
                raise LabError(f"/etc/{name} is missing")
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with open(target, "wb"):
                pass
        mount(os.path.join(folder, name), target, None, MS_BIND)


def run_in_room(work):
    """Call work(run_dir) in a room. Returns its result code; the run's folder is removed after
    `work` has ended, in whatever way. Ctrl-C and SIGTERM end the room at once."""
    run_dir = tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-")
    os.chmod(run_dir, 0o755)
    child = 0
    try:
        call("unshare", CLONE_NEWPID)
        child = os.fork()
        if child == 0:
            _inside(work, run_dir)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    except KeyboardInterrupt:
        if child:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        raise
    finally:
        shutil.rmtree(run_dir, ignore_errors=True)


def _inside(work, run_dir):
    """The room's first process. It has no terminal of its own: only its parent hears Ctrl-C."""
    code = 1
    try:
        call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL)
        os.setsid()
        _private_mounts()
        os.chdir(run_dir)
        code = work(run_dir)
    finally:
        os._exit(code)


def clean():
    """Remove the folders of killed recordings; yields their paths."""
    folder = tempfile.gettempdir()
    for name in sorted(os.listdir(folder)):
        pid = name.removeprefix(PREFIX).split("-")[0]
        if name.startswith(PREFIX) and pid.isdigit() and not os.path.exists(f"/proc/{pid}"):
            shutil.rmtree(os.path.join(folder, name), ignore_errors=True)
            yield os.path.join(folder, name)
