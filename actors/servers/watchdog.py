"""Runs a command whose whole process group dies with the process that started it, however that one dies.

    python watchdog.py PARENT_PID COMMAND [ARGUMENT ...] < SECRETS

The command's output goes to standard output, without the secrets that standard input lists, one a line: SGLang
prints its keys.

Ray kills an actor's process group only, and a server in a session of its own would survive the actor and keep its
memory. The kernel's own means (PR_SET_PDEATHSIG) covers one process, not its children, and fires when the *thread*
that spawned it ends; so this process leads the group and polls its parent. It is run by path, with the standard
library alone, so that it works in any environment.
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
OUTPUT_DRAIN_S = 0.5  # some output may still be in the pipe when the command has ended
REDACTED = b"[key]"
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
            preexec_fn=_die_with_parent,
        )
    except OSError as error:
        sys.exit(f"{command[0]} can't be run: {error.strerror}")
    signal.signal(signal.SIGTERM, lambda *_: None)  # the whole group gets it: the command decides when to end
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    copier = threading.Thread(target=_copy_output, args=(child.stdout, secrets), daemon=True)
    copier.start()
    status = child.wait()
    copier.join(OUTPUT_DRAIN_S)  # the command's children may keep the pipe open
    _exit_like(status)


def _copy_output(output: IO[bytes], secrets: list[bytes]) -> None:
    """Print each line without the secrets. It never stops early: a full pipe would block the command."""
    for line in output:
        for secret in secrets:
            line = line.replace(secret, REDACTED)
        with contextlib.suppress(OSError):  # the disk is full
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()


def _watch(parent: int) -> None:
    """Kill the whole group, this process too, once the parent is gone."""
    while os.getppid() == parent:
        time.sleep(PARENT_POLL_S)
    os.killpg(0, signal.SIGKILL)


def _die_with_parent() -> None:
    """Let the kernel kill the command when this process dies."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _exit_like(status: int) -> None:
    """Exit as the command did: with its exit code, or by its signal."""
    if status < 0:
        with contextlib.suppress(OSError):  # SIGKILL has no handler to reset
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)  # at once: the supervisor waits for it to restart the server


if __name__ == "__main__":
    main()
