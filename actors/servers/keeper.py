"""The keeper: starts a server, starts it again when it dies or hangs, and gives up when that is too often."""

import asyncio
import contextlib
import os
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NoReturn, TypeVar

from actors.servers.server import Address, Server
from extraction.config.settings import Servers
from extraction.errors import RunError

T = TypeVar("T")
POLL_S = 0.02
FAREWELL_S = 60  # for what the actor still has to write down when it gives up


class Keeper:
    """Owns one server for the life of its actor. It starts it in a thread of its own, because that blocks.

    `farewell` is awaited before the keeper ends the process; `ready` is called whenever the server has become
    ready: with its address, how often it was started so far (`starts`), and the seconds that it took.
    """

    def __init__(self, server: Server, asked: Servers) -> None:
        self.server, self.asked = server, asked
        self.farewell: Callable[[], Awaitable[None]] | None = None
        self.ready: Callable[[Address, int, float], None] | None = None
        self.starts = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="keeper")
        self._deaths: deque[float] = deque(maxlen=asked.max_deaths)
        self._reviving: asyncio.Lock | None = None

    def start(self) -> Address:
        """Start the server; blocks until it is ready. Raises RunError when it can't be."""
        return self._thread.submit(self._start).result()

    def _start(self) -> Address:
        began = time.monotonic()
        address = self.server.start()
        self.starts += 1
        if self.ready:
            self.ready(address, self.starts, time.monotonic() - began)
        return address

    async def revive(
        self,
        turn_to: Callable[[Address], Awaitable[None]],
        *,
        hung: Callable[[], Awaitable[bool]] | None = None,
        patience_s: float = 0,
        counted: bool = True,
    ) -> None:
        """Start a dead server again and turn the client to it; whoever comes meanwhile waits.

        Its death may take up to `patience_s` to be seen. One that lives is asked whether it is hung, and
        killed if so; what lives on then is somebody else's. After too many deaths that are `counted` the
        process ends, with a status that makes Ray place the actor anew (an orderly exit would leave it dead).
        """
        self._reviving = self._reviving or asyncio.Lock()
        await self._seen_dead(patience_s)
        async with self._reviving:
            ended = "died"
            if self.server.alive:
                if hung is None or not await hung():
                    return
                await self._in_thread(self.server.stop)
                if self.server.alive:
                    return
                ended = "stopped answering"
            if counted:
                await self._count()
            say(f"{self.server.name}: {ended}, starting it again")
            try:
                address = await self._in_thread(self._start)
            except RunError as error:
                await self.leave(str(error))
            await turn_to(address)

    async def _seen_dead(self, patience_s: float) -> None:
        end = time.monotonic() + patience_s
        while self.server.alive and time.monotonic() < end:
            await asyncio.sleep(POLL_S)

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    async def _count(self) -> None:
        self._deaths.append(time.monotonic())
        seconds = self._deaths[-1] - self._deaths[0]
        if len(self._deaths) == self.asked.max_deaths and seconds < self.asked.deaths_within_s:
            await self.leave(f"died {self.asked.max_deaths} times in {seconds:.0f} s, giving up")

    async def leave(self, why: str) -> NoReturn:
        """End the process, with nothing lost that was answered; Ray places the actor anew."""
        say(f"{self.server.name}: {why}")
        with contextlib.suppress(Exception):
            if self.farewell:
                await asyncio.wait_for(self.farewell(), FAREWELL_S)
        self.server.stop()  # what its group left, which no leash watches any more
        os._exit(1)

    def stop(self) -> None:
        """End the server."""
        self.server.stop()
        self._thread.shutdown(wait=False)


def say(line: str) -> None:
    """A line in the actor's log, which Ray brings to the driver."""
    print(line, file=sys.stderr, flush=True)
