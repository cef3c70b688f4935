"""Records which requests were in flight when a server or an actor crashed, for the actor's next start.

A document may kill more than its server: where memory is short, the container dies, and the actor with it. So an
actor that was restarted, or whose server crashed, writes down each request before it sends it. In normal operation
nothing is written.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

from actors.http import Completion
from actors.servers.supervisor import log_line

SentAs = Literal["", "shared", "alone"]  # not in flight; in flight with others; the only one in flight


@dataclass(slots=True)
class RequestCost:
    """The cost of a request over all its parts and attempts: `seconds` in which the server had it.

    `crashes` counts the crashes of the server, or of the actor with it, while the request was in flight;
    `solo_crashes` those while it was the only one.
    """

    attempts: int = 0
    seconds: float = 0.0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    in_flight: int = 0
    truncated: int = 0
    looped: int = 0
    crashes: int = 0
    solo_crashes: int = 0
    sent_as: SentAs = ""

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Count the time of an attempt."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds += time.monotonic() - began

    def add(self, completion: Completion, in_flight: int) -> None:
        """Count one more reply."""
        self.prompt_tokens += completion.prompt_tokens
        self.cached_tokens += completion.cached_tokens
        self.completion_tokens += completion.completion_tokens
        self.in_flight = in_flight


class CrashRecord(NamedTuple):
    """The crashes under a request so far, and how it is in flight now."""

    crashes: int = 0
    solo_crashes: int = 0
    sent_as: SentAs = ""

    def after_restart(self) -> "CrashRecord":
        """The record with the actor's own crash counted, if the request was in flight then."""
        if not self.sent_as:
            return self
        return CrashRecord(self.crashes + 1, self.solo_crashes + (self.sent_as == "alone"))


class SuspectStore(Protocol):
    """Storage for crash records by chunk id, which survives the actor."""

    def read(self) -> dict[str, Any] | None:
        """The records from before the actor's restart; None at its first start."""
        ...

    def write(self, records: dict[str, Any]) -> None:
        """Replace all records; blocks."""
        ...


class CrashSuspects:
    """The costs of all requests of an actor. Their crash records are written to the store for `window_s` seconds
    after a crash; without a store never."""

    def __init__(self, store: SuspectStore | None = None, window_s: float = 0) -> None:
        self._store, self._window_s = store, window_s
        stored = store.read() if store else None
        self._previous = {key: CrashRecord(*record).after_restart() for key, record in (stored or {}).items()}
        self._record_until = 0.0 if stored is None else time.monotonic() + window_s
        self._costs: dict[str, RequestCost] = {}
        self._lock = asyncio.Lock()
        self._changes = self._written = 0
        self._store_in_use = bool(stored)

    def record_crash(self) -> None:
        """Write down from now on what is sent, before it is sent."""
        self._record_until = time.monotonic() + self._window_s

    @contextmanager
    def track(self, chunk_id: str) -> Iterator[RequestCost]:
        """Yield the cost of a request while it is worked on, with the crashes from before the actor's restart."""
        previous = self._previous.pop(chunk_id, CrashRecord())
        cost = RequestCost(crashes=previous.crashes, solo_crashes=previous.solo_crashes)
        self._costs[chunk_id] = cost
        try:
            yield cost
        finally:
            self._costs.pop(chunk_id, None)

    @asynccontextmanager
    async def in_flight(self, cost: RequestCost, *, alone: bool) -> AsyncIterator[None]:
        """Mark a request as in flight; entered once that is written, if it has to be."""
        cost.sent_as = "alone" if alone else "shared"
        try:
            await self._save()
            yield
        finally:
            cost.sent_as = ""

    async def clear(self) -> None:
        """Write down that nothing is in flight: the actor shuts down in good order."""
        for cost in self._costs.values():
            cost.sent_as = ""
        await self._save()

    async def _save(self) -> None:
        """Return once the records are written, where they have to be. One write runs at a time, and covers all
        changes up to its start."""
        recording = time.monotonic() < self._record_until
        if self._store is None or not (recording or self._store_in_use):
            return
        self._changes += 1
        change = self._changes
        async with self._lock:
            if self._written >= change:
                return
            self._written, self._store_in_use = self._changes, recording
            records = self._records() if recording else {}
            try:
                await asyncio.to_thread(self._store.write, records)
            except Exception as error:  # the ledger's own writes report a storage that is down
                log_line(f"requests in flight could not be written down ({error})")

    def _records(self) -> dict[str, CrashRecord]:
        current = {i: CrashRecord(c.crashes, c.solo_crashes, c.sent_as) for i, c in self._costs.items()}
        return self._previous | {chunk_id: record for chunk_id, record in current.items() if any(record)}
