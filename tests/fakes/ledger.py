"""The count of what came to the fake server and went, and the journal of it."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.fakes.faults import Fault


class Ledger:
    """The count of what came and went, and the journal of it that outlives the process."""

    def __init__(self, path: Path | None) -> None:
        self.file = path.open("ab", buffering=0) if path else None
        self.requests = self.in_flight = self.most = 0
        self.by_status: Counter[str] = Counter()

    def arrive(self, text: str) -> Ticket:
        """Note a request at its arrival."""
        self.requests += 1
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        ticket = Ticket(self, self.requests, hashlib.sha256(text.encode()).hexdigest())
        self.write("request", ticket)
        return ticket

    def write(self, event: str, ticket: Ticket, **more: Any) -> None:
        """Append one journal line in one write, so that a kill never cuts it."""
        if self.file:
            row = {"event": event, "id": ticket.number, "sha": ticket.sha, "t": time.monotonic(), **more}
            self.file.write(json.dumps({**row, "pid": os.getpid()}).encode() + b"\n")

    def stats(self) -> dict[str, Any]:
        """The counts as /stats gives them."""
        return {
            "requests": self.requests,
            "answered": sum(n for status, n in self.by_status.items() if status != "broken"),
            "in_flight": self.in_flight,
            "max_in_flight": self.most,
            "by_status": dict(self.by_status),
        }


class Ticket:
    """One request from arrival to end; only its first end counts."""

    def __init__(self, ledger: Ledger, number: int, sha: str) -> None:
        self.ledger = ledger
        self.number = number
        self.sha = sha
        self.open = True

    def answer(self, status: int, finish: str | None, fault: Fault | None) -> None:
        """Note a whole HTTP answer; called before its last byte, so that who has it finds it noted."""
        self._end("answer", str(status), status=status, finish_reason=finish, fault=fault and fault.name)

    def broken(self, fault: Fault | None) -> None:
        """Note that no whole answer was sent: a fault broke it off, or the client went."""
        self._end("broken", "broken", fault=fault and fault.name)

    def _end(self, event: str, key: str, **more: Any) -> None:
        if self.open:
            self.open = False
            self.ledger.in_flight -= 1
            self.ledger.by_status[key] += 1
            self.ledger.write(event, self, **more)
