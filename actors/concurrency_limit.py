"""The limit on requests in flight to one server, and the order in which waiting requests get a slot."""

import asyncio
import heapq
import math
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count


class Slots:
    """Room for `limit` requests; `taken` are under way.

    A request may ask for small company. Those that do go first, the most demanding before the others.
    """

    def __init__(self, limit: int) -> None:
        self.limit, self.taken = limit, 0
        self._closed = False
        self._inside: Counter[float] = Counter()
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = count()

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return len(self._waiting)

    def resize(self, limit: int) -> None:
        """Change the limit. Who is under way goes on."""
        self.limit = limit
        self._admit()

    def close(self) -> None:
        """Let nobody in any more. Who is under way goes on."""
        self._closed = True

    @asynccontextmanager
    async def one(self, most: float = math.inf) -> AsyncIterator[None]:
        """Hold a slot while no more than `most` requests are under way, this one included."""
        ticket = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (most, next(self._order), ticket))
        self._admit()
        try:
            await ticket
            yield
        finally:
            if not ticket.cancelled():
                self.taken -= 1
                self._inside -= Counter([most])
            self._admit()

    def _admit(self) -> None:
        """Let in whoever has a right to it now."""
        while self._waiting and not self._closed:
            most, _, ticket = self._waiting[0]
            if not ticket.cancelled():
                if self.taken >= min(self.limit, most, *self._inside):
                    return
                self.taken += 1
                self._inside[most] += 1
                ticket.set_result(None)
            heapq.heappop(self._waiting)
