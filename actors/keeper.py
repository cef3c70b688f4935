"""The keeper: starts a server, starts it again when it dies, and gives up when it dies too often."""

import asyncio
import os
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

from actors.server import Address, Server
from extraction.errors import RunError
from extraction.settings import Servers


class Keeper:
    """Owns one server for the life of its actor. It starts it in a thread of its own, because that blocks."""

    def __init__(self, server: Server, asked: Servers) -> None:
        self.server, self.asked = server, asked
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="keeper")
        self._deaths: deque[float] = deque(maxlen=asked.max_deaths)
        self._reviving: asyncio.Lock | None = None

    def start(self) -> Address:
        """Start the server; blocks until it is ready. Raises RunError when it can't be."""
        return self._thread.submit(self.server.start).result()

    async def revive(self, turn_to: Callable[[Address], Awaitable[None]]) -> None:
        """Start a dead server again and turn the client to it; whoever comes meanwhile waits.

        After too many deaths the process ends, with a status that makes Ray place the actor anew
        (an orderly exit would leave it dead).
        """
        self._reviving = self._reviving or asyncio.Lock()
        async with self._reviving:
            if self.server.alive:
                return
            self._deaths.append(time.monotonic())
            seconds = self._deaths[-1] - self._deaths[0]
            if len(self._deaths) == self.asked.max_deaths and seconds < self.asked.deaths_within_s:
                say(f"{self.server.name}: died {self.asked.max_deaths} times in {seconds:.0f} s, giving up")
                self.server.stop()  # what its group left, which no leash watches any more
                os._exit(1)
            say(f"{self.server.name}: died, starting it again")
            try:
                address = await asyncio.get_running_loop().run_in_executor(self._thread, self.server.start)
            except RunError as error:
                say(f"{self.server.name}: {error}")
                os._exit(1)
            await turn_to(address)

    def stop(self) -> None:
        """End the server."""
        self.server.stop()
        self._thread.shutdown(wait=False)


def say(line: str) -> None:
    """A line in the actor's log, which Ray brings to the driver."""
    print(line, file=sys.stderr, flush=True)
