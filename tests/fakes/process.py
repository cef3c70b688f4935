"""Starts, calls, stops and kills the fake inference server for a test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.fakes.ports import port_of, reserve

ROOT = Path(__file__).resolve().parents[2]
READY_S = 60
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class FakeServer:
    """One server process on a port of its own, for the length of a `with` block.

    Flags go through as they are: `FakeServer("--latency", "0.1", api_key="k")`. `start()` after `kill()` starts
    anew, on the same port and journal.
    """

    def __init__(self, *flags: str, api_key: str | None = None, journal: Path | None = None) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="fake-server-", ignore_cleanup_errors=True)
        self.journal_path = journal or Path(self.folder.name, "journal.jsonl")
        self.log_path = Path(self.folder.name, "server.log")
        self.reserved = reserve()
        port = port_of(self.reserved)
        self.root = f"http://127.0.0.1:{port}"
        self.url = f"{self.root}/v1"
        self.api_key = api_key
        self.flags = [*flags, "--reserved", "--port", str(port), "--journal", str(self.journal_path)]
        self.flags += ["--api-key", api_key] if api_key else []
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> FakeServer:
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.reserved.close()
        self.folder.cleanup()

    def start(self) -> None:
        """Start the process, and wait for its /health."""
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "tests.fakes.server", *self.flags]
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=log, stderr=log)
        end = time.monotonic() + READY_S
        while not self.healthy():
            if self.returncode is not None or time.monotonic() > end:
                raise RuntimeError(f"fake server not ready (exit {self.returncode}): {self.log()}")
            time.sleep(0.02)

    def healthy(self) -> bool:
        """Whether /health answers 200 now."""
        try:
            return self.call("/health")[0] == 200
        except OSError:
            return False

    def call(self, path: str, body: Any = None) -> tuple[int, Any]:
        """GET the path, or POST the body to it: the status and the JSON answer (None if there is none)."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.root + path, data, {"Content-Type": "application/json"})
        if self.api_key:
            request.add_header("Authorization", f"Bearer {self.api_key}")
        try:
            with DIRECT.open(request, timeout=5) as response:
                status, text = response.status, response.read()
        except urllib.error.HTTPError as failure:
            with failure:
                status, text = failure.code, failure.read()
        return status, json.loads(text) if text[:1] in (b"{", b"[") else None

    def stats(self) -> dict[str, Any]:
        """The server's counts."""
        status, stats = self.call("/stats")
        if status != 200:
            raise RuntimeError(f"/stats answered {status}: {stats}")
        return dict(stats)

    def order(self, orders: list[dict[str, Any]]) -> None:
        """Order faults for the requests to come; an empty list clears the pending ones."""
        status, answer = self.call("/orders", orders)
        if status != 200:
            raise RuntimeError(f"/orders answered {status}: {answer}")

    def log(self) -> str:
        """What the process has printed."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    @property
    def returncode(self) -> int | None:
        """The exit status, -N for a signal; None while it runs."""
        return self.process.poll() if self.process else None

    def stop(self) -> None:
        """End the process as a supervisor would: SIGTERM, and SIGKILL if that does not do."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End the process by SIGKILL."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(5)


def events(journal: Path) -> list[dict[str, Any]]:
    """What servers noted in a journal; a line that is being written does not count."""
    lines = journal.read_text().splitlines() if journal.exists() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


def requests_of(journal: Path) -> Counter[str]:
    """How often each message reached the servers of a journal."""
    return Counter(event["sha"] for event in events(journal) if event["event"] == "request")


def gone(pid: int) -> bool:
    """Whether a process has ended; a zombie counts as ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def eventually(check: Callable[[], bool], timeout_s: float = 10) -> bool:
    """Whether a check becomes true before the timeout."""
    deadline = time.monotonic() + timeout_s
    while not check():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
