"""Counts the requests to the fake server, and writes a journal of them."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

from tests.fakes.faults import Fault


class RequestLog:
    """The counts of requests and replies, and the journal, which outlives the process."""

    def __init__(self, path: Path | None) -> None:
        self.file = path.open("ab", buffering=0) if path else None
        self.requests = self.answered = self.in_flight = self.max_in_flight = 0

    def start(self, text: str) -> LoggedRequest:
        """Log a request when it arrives."""
        self.requests += 1
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        logged = LoggedRequest(self, self.requests, hashlib.sha256(text.encode()).hexdigest())
        self.write("request", logged)
        return logged

    def write(self, event: str, logged: LoggedRequest, **fields: Any) -> None:
        """Append one journal line in one write, so that a kill never cuts it."""
        if self.file:
            row = {"event": event, "id": logged.number, "sha": logged.sha, "t": time.monotonic(), **fields}
            self.file.write(json.dumps({**row, "pid": os.getpid()}).encode() + b"\n")

    def stats(self) -> dict[str, Any]:
        """The counts as /stats gives them."""
        return {name: getattr(self, name) for name in ("requests", "answered", "in_flight", "max_in_flight")}


class LoggedRequest:
    """One request from arrival to end; only its first end counts."""

    def __init__(self, log: RequestLog, number: int, sha: str) -> None:
        self.log = log
        self.number = number
        self.sha = sha
        self.open = True

    def answer(self, status: int, finish: str | None, fault: Fault | None) -> None:
        """Log a complete HTTP reply; called before its last byte, so that the client finds it in the log."""
        self._end("answer", status=status, finish_reason=finish, fault=fault and fault.name)

    def broken(self, fault: Fault | None) -> None:
        """Log that no complete reply was sent: a fault broke it off, or the client disconnected."""
        self._end("broken", fault=fault and fault.name)

    def _end(self, event: str, **fields: Any) -> None:
        if self.open:
            self.open = False
            self.log.in_flight -= 1
            self.log.answered += event == "answer"
            self.log.write(event, self, **fields)
