"""Killing a job as a machine that loses its power does: all its processes at once."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil

PATIENCE_S = 300


def kill_all(process: "subprocess.Popen[bytes]") -> None:
    """SIGKILL to a process that leads its group, to that group, and to all that descends from it."""
    family = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGKILL)
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    process.wait(30)


def wait_for(condition: Callable[[], bool], process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Wait until a condition holds while a process runs, which writes to a log."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert process.poll() is None, f"it ended early, with status {process.returncode}: {log.read_text()}"
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)
