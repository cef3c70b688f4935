"""Run a command whose whole process group dies with the process that started it, however that one dies.

    python leash.py PARENT_PID COMMAND [ARGUMENT ...] < SECRETS

What the command prints goes to standard output, without the secrets that standard input names, one a line:
SGLang prints its keys.

Ray kills an actor's process group only, and a server in a session of its own would survive the actor and
keep its memory. The kernel's tie (PR_SET_PDEATHSIG) holds one process, not its children, and breaks when the
*thread* that spawned it ends; so this process leads the group, stays, and watches. Run by path, with the
standard library alone, so that it works in any environment.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from typing import IO

PARENT_POLL_S = 0.5
LAST_WORDS_S = 0.5  # what the command printed may still be on its way when it has ended
HIDDEN = b"[key]"
PR_SET_PDEATHSIG = 1


def main() -> None:
    """Run the command, watch the parent, and end as the command did."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if os.getppid() != parent:
        sys.exit("the process that started this one is gone already")
    secrets = sys.stdin.buffer.read().split()
    try:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            preexec_fn=_tie,
        )
    except OSError as error:
        sys.exit(f"{command[0]} can't be run: {error.strerror}")
    signal.signal(signal.SIGTERM, lambda *_: None)  # the whole group is asked: the command decides
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    copied = threading.Thread(target=_copy, args=(child.stdout, secrets), daemon=True)
    copied.start()
    status = child.wait()
    copied.join(LAST_WORDS_S)  # children of the command's may hold its output open
    _end_as(status)


def _copy(printed: IO[bytes], secrets: list[bytes]) -> None:
    """Pass each line on without the secrets. It never stops, or the command would wait for a full pipe."""
    for line in printed:
        for secret in secrets:
            line = line.replace(secret, HIDDEN)
        with contextlib.suppress(OSError):  # the disk is full
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()


def _watch(parent: int) -> None:
    """End the whole group, this process too, once the parent is gone."""
    while os.getppid() == parent:
        time.sleep(PARENT_POLL_S)
    os.killpg(0, signal.SIGKILL)


def _tie() -> None:
    """Let the command die with this process too."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _end_as(status: int) -> None:
    """End as the command did: with its exit code, or by its signal."""
    if status < 0:
        with contextlib.suppress(OSError):  # SIGKILL has no handler to reset
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)  # at once: who waits for it starts the server again


if __name__ == "__main__":
    main()
