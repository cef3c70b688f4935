"""Run a command that dies with the process that started it, however that one dies.

    python leash.py PARENT_PID COMMAND [ARGUMENT ...]

Ray kills an actor's process group only, and a server in a session of its own would survive the actor and
keep its memory. Run by path, with the standard library alone, so that it works in any environment. The
kernel sends the signal when the *thread* that spawned this process ends: spawn from one that stays.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Tie this process to its parent, then become the command."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the process that started this one is gone already")
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
