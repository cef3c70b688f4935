"""Doubts: which questions were under way when something died, kept where the actor's next life finds them.

A document may kill more than its server: where memory is short, the whole container goes, and the actor with it.
So an actor that was restarted, or whose server died, writes down what it is about to ask before it asks. While all
goes well nothing is written.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

from actors.http import Completion
from actors.servers.supervisor import say

UnderWay = Literal["", "in company", "alone"]


@dataclass(slots=True)
class Effort:
    """The cost of a question over all its parts and attempts.

    `deaths` is how often the server, or the actor with it, died while it worked on the question, `deaths_alone` on
    it alone; `under_way` is how it is being asked now.
    """

    attempts: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    in_flight: int = 0
    truncated: int = 0
    looped: int = 0
    deaths: int = 0
    deaths_alone: int = 0
    under_way: UnderWay = ""

    def add(self, completion: Completion, in_flight: int) -> None:
        """Count one more reply."""
        self.prompt_tokens += completion.prompt_tokens
        self.cached_tokens += completion.cached_tokens
        self.completion_tokens += completion.completion_tokens
        self.in_flight = in_flight


class Doubt(NamedTuple):
    """What is known against a question, and how it was being asked."""

    deaths: int = 0
    deaths_alone: int = 0
    under_way: UnderWay = ""

    def after_death(self) -> "Doubt":
        """The same in the actor's next life."""
        if not self.under_way:
            return self
        return Doubt(self.deaths + 1, self.deaths_alone + (self.under_way == "alone"))


class Notes(Protocol):
    """Where doubts are kept."""

    def read(self) -> dict[str, Any] | None:
        """What the actor's last life wrote, by chunk id; None in its first life."""
        ...

    def write(self, doubts: dict[str, Any]) -> None:
        """Put doubts in place of those before; blocks."""
        ...


class Doubts:
    """The efforts of all questions of an actor. They are written down for `window_s` seconds after a death; without
    notes never."""

    def __init__(self, notes: Notes | None = None, window_s: float = 0) -> None:
        self._notes, self._window_s = notes, window_s
        left = notes.read() if notes else None
        self._left = {chunk_id: Doubt(*doubt).after_death() for chunk_id, doubt in (left or {}).items()}
        self._until = 0.0 if left is None else time.monotonic() + window_s
        self._efforts: dict[str, Effort] = {}
        self._lock = asyncio.Lock()
        self._changes = self._written = 0
        self._kept = bool(left)

    def alarm(self) -> None:
        """Something died: what is asked from now on is written down before."""
        self._until = time.monotonic() + self._window_s

    @contextmanager
    def about(self, chunk_id: str) -> Iterator[Effort]:
        """The effort of a question while it is worked on, with what is known against it from before."""
        known = self._left.pop(chunk_id, Doubt())
        effort = self._efforts[chunk_id] = Effort(deaths=known.deaths, deaths_alone=known.deaths_alone)
        try:
            yield effort
        finally:
            self._efforts.pop(chunk_id, None)

    @asynccontextmanager
    async def under_way(self, effort: Effort, *, alone: bool) -> AsyncIterator[None]:
        """While a question is with the server."""
        effort.under_way = "alone" if alone else "in company"
        try:
            await self._note()
            yield
        finally:
            effort.under_way = ""

    async def settle(self) -> None:
        """Write down that nothing is under way: the actor goes in good order."""
        for effort in self._efforts.values():
            effort.under_way = ""
        await self._note()

    async def _note(self) -> None:
        """Return once what is under way is written, where that is called for. Writes go out one after the other,
        each with all that has changed by then."""
        careful = time.monotonic() < self._until
        if self._notes is None or not (careful or self._kept):
            return
        self._changes += 1
        change = self._changes
        async with self._lock:
            if self._written >= change:
                return
            self._written, self._kept = self._changes, careful
            doubts = self._all() if careful else {}
            try:
                await asyncio.to_thread(self._notes.write, doubts)
            except Exception as error:  # the ledger's own writes tell of a storage that is away
                say(f"what is under way could not be written down ({error})")

    def _all(self) -> dict[str, Doubt]:
        now = {i: Doubt(e.deaths, e.deaths_alone, e.under_way) for i, e in self._efforts.items()}
        return self._left | {chunk_id: doubt for chunk_id, doubt in now.items() if any(doubt)}
