"""Limits the requests to one server, those in flight and those in a time, and orders those that wait for a slot."""

import asyncio
import heapq
import math
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count

GROWTH = 0.1  # of the rate, while as many requests pass as it was measured with


class ConcurrencyLimit:
    """A semaphore of `limit` slots that can be resized; `in_flight` requests hold one.

    A request may ask for a lower limit while it is in flight. The lowest limits are admitted first.

    A server that refuses requests for their rate is left alone for a while (`pause`). After it, requests are
    admitted at the rate that passed until then, pauses included, and a little faster with each that passes.
    """

    def __init__(self, limit: int) -> None:
        self.limit, self.in_flight = limit, 0
        self._closed = False
        self._limits_in_flight: Counter[float] = Counter()
        self._queue: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = count()
        self._paused_until = self._opens_at = 0.0  # monotonic; the second is of the next admission
        self._interval_s = 0.0  # between admissions; 0 until there was a pause
        self._timer: asyncio.TimerHandle | None = None
        self._measured_from: float | None = None
        self._passed = self._passed_before = 0  # in this measurement and the one before

    @property
    def waiting(self) -> int:
        """The number of requests that wait."""
        return len(self._queue)

    def resize(self, limit: int) -> None:
        """Change the limit. Requests in flight keep their slots."""
        self.limit = limit
        self._admit()

    def pause(self, seconds: float) -> bool:
        """Admit no request for so many seconds, and learn the rate. Whether this pause is a new one."""
        now = time.monotonic()
        until, new = now + seconds, now >= self._paused_until
        if new and self._passed and self._measured_from is not None:
            self._interval_s = (until - self._measured_from) / self._passed
            self._passed, self._passed_before = 0, self._passed
            self._measured_from = until
        self._paused_until = max(self._paused_until, until)
        self._opens_at = max(self._opens_at, until)
        return new

    def passed(self) -> None:
        """Count a request that the server answered."""
        self._passed += 1
        if self._interval_s:
            self._interval_s /= 1 + GROWTH / self._passed_before

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
                if not self._is_due():
                    return
                self.in_flight += 1
                self._limits_in_flight[max_in_flight] += 1
                admitted.set_result(None)
            heapq.heappop(self._queue)

    def _is_due(self) -> bool:
        """Whether the pause, and the time between two requests, is over; when it is, `_admit` is called again."""
        now = time.monotonic()
        if now < self._opens_at:
            if self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(self._opens_at - now, self._on_timer)
            return False
        self._measured_from = now if self._measured_from is None else self._measured_from
        self._opens_at = max(self._opens_at, now - self._interval_s) + self._interval_s
        return True

    def _on_timer(self) -> None:
        self._timer = None
        self._admit()
