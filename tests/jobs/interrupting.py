"""Waiting within a job, and killing it as a machine that loses its power does: all its processes at once."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import ray

from tests.fakes.process import ROOT, eventually

PATIENCE_S = 400  # two cores may be shared by many


def family_of(pid: int) -> list[psutil.Process]:
    """A process and all below it, the youngest last; none when it has ended."""
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def kill_family(pid: int) -> None:
    """SIGKILL to a process that leads its group, to that group, and to all below it."""
    family = family_of(pid)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    eventually(lambda: all(map(has_ended, family)), 30)


def has_ended(process: psutil.Process) -> bool:
    """Whether a process is gone, or only waits for its parent, which may take its time, to ask for its status."""
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def joining() -> dict[str, str]:
    """The environment of a driver that joins the session's Ray, which spares it a Ray of its own."""
    return {**os.environ, "RAY_ADDRESS": ray.get_runtime_context().gcs_address}


@contextlib.contextmanager
def started(
    command: Sequence[str], log: Path, environment: dict[str, str] | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    """A program of the project that writes to a log; what is left of it at the end of the block is killed."""
    with log.open("wb") as out:
        words, environment = [sys.executable, *command], environment or joining()
        process = subprocess.Popen(words, cwd=ROOT, env=environment, start_new_session=True, stdout=out, stderr=out)
    try:
        yield process
    finally:
        kill_all(process)


def kill_all(process: "subprocess.Popen[bytes]") -> None:
    """SIGKILL to a process that was started here and leads its group, and to all below it."""
    kill_family(process.pid)
    process.wait(30)


def wait_for(condition: Callable[[], Any], process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Wait until a condition holds while a process runs, which writes to a log."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert process.poll() is None, f"it ended early, with status {process.returncode}: {log.read_text()}"
        assert time.monotonic() < deadline, f"waited too long: {log.read_text()}"
        time.sleep(0.25)  # conditions read journals and ledgers, and who is waited for wants the cores
