"""Server processes of tests: a line of Python, or the fake server as an engine that an extractor owns."""

import os
import signal
import socket
import sys
from pathlib import Path

import psutil

from actors.servers.process import STOP_GRACE_S, ServerProcess, new_key
from actors.servers.supervisor import ServerAddress, wait_until_healthy
from tests.fakes.ports import port_of, reserve
from tests.fakes.process import ROOT, eventually


def python(code: str, log: Path) -> ServerProcess:
    """A server process that runs a line of Python."""
    return ServerProcess([sys.executable, "-S", "-c", code], log=log)


def printed(process: ServerProcess, lines: int = 1) -> list[str]:
    """The first lines of a process's log, once they are there."""
    assert eventually(lambda: len(process.tail().splitlines()) >= lines), process.tail()
    return process.tail().splitlines()[:lines]


def fake_process(folder: Path, reserved: socket.socket, *flags: str) -> ServerProcess:
    """The fake inference server as a server process at a port that is kept for it, not started yet."""
    port = port_of(reserved)
    command = [sys.executable, "-m", "tests.fakes.server", "--reserved", "--port", str(port), *flags]
    return ServerProcess(command, log=folder / f"fake-{port}.log", env={"PYTHONPATH": str(ROOT)})


class FakeEngine:
    """The fake inference server as a server of the extractor's own, on a new port and key at each start."""

    name = "fake"

    def __init__(self, folder: Path, *flags: str, limit: int = 4, grace_s: float = STOP_GRACE_S) -> None:
        self.folder, self.flags, self.limit, self.grace_s = folder, flags, limit, grace_s
        self.journal = folder / "journal.jsonl"
        self.addresses: list[ServerAddress] = []
        self.process: ServerProcess | None = None

    def start(self) -> ServerAddress:
        """Start a process and wait until it is healthy."""
        self.stop()
        key = new_key()
        with reserve() as reserved:
            flags = (*self.flags, f"--api-key={key}", "--journal", str(self.journal))
            root = f"http://127.0.0.1:{port_of(reserved)}"
            self.process = fake_process(self.folder, reserved, *flags)
            self.process.start()
            wait_until_healthy(self.process, f"{root}/health", timeout_s=30)
        self.addresses.append(ServerAddress(f"{root}/v1", key, "house", self.limit))
        return self.addresses[-1]

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self.process is not None and self.process.alive

    @property
    def requests(self) -> int:
        """The number of requests that came in so far, over all starts."""
        lines = self.journal.read_text().splitlines() if self.journal.exists() else []
        return sum('"event": "request"' in line for line in lines)

    def signal_after(self, requests: int, number: signal.Signals) -> None:
        """Wait until that many requests came in, then send a signal to the process that answers."""
        assert eventually(lambda: self.requests >= requests)
        os.kill(self.server_pid, number)

    @property
    def server_pid(self) -> int:
        """The id of the process that answers, the watchdog's child."""
        assert self.process and self.process.pid
        (child,) = psutil.Process(self.process.pid).children()
        return child.pid

    def stop(self) -> None:
        """End the process."""
        if self.process:
            self.process.stop(self.grace_s)
            self.process = None
