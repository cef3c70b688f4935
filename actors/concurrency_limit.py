"""Limits the requests in flight to one server, and orders the requests that wait for a slot."""

import asyncio
import heapq
import math
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count


class ConcurrencyLimit:
    """A semaphore of `limit` slots that can be resized; `in_flight` requests hold one.

    A request may ask for a lower limit while it is in flight. The lowest limits are admitted first.
    """

    def __init__(self, limit: int) -> None:
        self.limit, self.in_flight = limit, 0
        self._closed = False
        self._limits_in_flight: Counter[float] = Counter()
        self._queue: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = count()

    @property
    def waiting(self) -> int:
        """The number of requests that wait."""
        return len(self._queue)

    def resize(self, limit: int) -> None:
        """Change the limit. Requests in flight keep their slots."""
        self.limit = limit
        self._admit()

    def close(self) -> None:
        """Admit no more requests. Requests in flight keep their slots."""
        self._closed = True

    @asynccontextmanager
    async def slot(self, max_in_flight: float = math.inf) -> AsyncIterator[None]:
        """Hold a slot while no more than `max_in_flight` requests are in flight, this one included."""
        admitted = asyncio.get_running_loop().create_future()
        heapq.heappush(self._queue, (max_in_flight, next(self._order), admitted))
        self._admit()
        try:
            await admitted
            yield
        finally:
            if not admitted.cancelled():
                self.in_flight -= 1
                self._limits_in_flight -= Counter([max_in_flight])
            self._admit()

    def _admit(self) -> None:
        """Give a slot to every request that may have one now."""
        while self._queue and not self._closed:
            max_in_flight, _, admitted = self._queue[0]
            if not admitted.cancelled():
                if self.in_flight >= min(self.limit, max_in_flight, *self._limits_in_flight):
                    return
                self.in_flight += 1
                self._limits_in_flight[max_in_flight] += 1
                admitted.set_result(None)
            heapq.heappop(self._queue)
