"""Processes of tests: the fake server on a leash, and ways to see that a process is gone."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

from actors.servers.process import ServerProcess, free_port, new_key
from actors.servers.supervisor import ServerAddress, wait_until_healthy
from tests.fakes.process import ROOT

DEADLINE_S = 10.0


def eventually(check: Callable[[], bool], within_s: float = DEADLINE_S) -> bool:
    """Whether a check comes true before the deadline."""
    end = time.monotonic() + within_s
    while not check():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has reaped counts as ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def python(code: str, log: Path) -> ServerProcess:
    """A server process that runs a line of Python."""
    return ServerProcess([sys.executable, "-S", "-c", code], log=log)


def printed(process: ServerProcess, lines: int = 1) -> list[str]:
    """The first lines of a process's log, once they are there."""
    assert eventually(lambda: len(process.tail().splitlines()) >= lines), process.tail()
    return process.tail().splitlines()[:lines]


def fake_process(folder: Path, port: int, *flags: str) -> ServerProcess:
    """The fake inference server as a server process, not started yet."""
    command = [sys.executable, "-m", "tests.fakes.server", "--port", str(port), *flags]
    return ServerProcess(command, log=folder / f"fake-{port}.log", env={"PYTHONPATH": str(ROOT)})


class OwnedFake:
    """A server of the extractor's own: the fake inference server, on a new port and key at each start."""

    name = "fake"

    def __init__(self, folder: Path, *flags: str, limit: int = 4) -> None:
        self.folder, self.flags, self.limit = folder, flags, limit
        self.journal = folder / "journal.jsonl"
        self.addresses: list[ServerAddress] = []
        self.process: ServerProcess | None = None

    def start(self) -> ServerAddress:
        """Start a process and wait until it answers."""
        self.stop()
        port, key = free_port(), new_key()
        flags = (*self.flags, f"--api-key={key}", "--journal", str(self.journal))
        self.process = fake_process(self.folder, port, *flags)
        self.process.start()
        wait_until_healthy(self.process, f"http://127.0.0.1:{port}/health", timeout_s=30)
        self.addresses.append(ServerAddress(f"http://127.0.0.1:{port}/v1", key, "house", self.limit))
        return self.addresses[-1]

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self.process is not None and self.process.alive

    def stop(self) -> None:
        """End the process."""
        if self.process:
            self.process.stop()
            self.process = None
