"""Supervision of a server: start it, restart it when it dies or hangs, give up when that happens too often.

`Server` is what an engine implements: an address to ask, and a life to look after.
"""

import asyncio
import contextlib
import http.client
import os
import sys
import time
import urllib.request
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NoReturn, Protocol, TypeVar

from actors.servers.process import ServerProcess
from extraction.config.settings import Servers
from extraction.errors import RunError

HEALTH_POLL_S = 0.2
PROBE_TIMEOUT_S = 30
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class ServerAddress:
    """Where and how to ask: `limit` is the number of requests that the server works on at a time, `metrics` the URL
    of what it says of itself in Prometheus' format. `facts` tell a person how it is configured and why, without
    secrets, as JSON has them."""

    url: str
    api_key: str = field(repr=False)
    model: str
    limit: int
    metrics: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Ready:
    """What is told of a server whenever it becomes ready: the actor that owns it (as answers name it), the requests
    that it takes at a time, how often and for how many seconds it was started, when (seconds since 1970), and the
    facts of its address."""

    server: str
    name: str
    limit: int
    starts: int
    start_s: float
    ready_at: float
    facts: Mapping[str, Any]


class Server(Protocol):
    """A server of any engine."""

    name: str

    def start(self) -> ServerAddress:
        """Make it ready to answer; blocks. Raises RunError with one cause when it can't be."""
        ...

    @property
    def alive(self) -> bool:
        """Whether it can still be expected to answer."""
        ...

    def stop(self) -> None:
        """Let go of everything that it holds."""
        ...


def wait_until_healthy(process: ServerProcess, health_url: str, *, timeout_s: float) -> float:
    """Wait for a 200 from the health URL and return the seconds it took.

    Raises RunError, with the last lines of the log, when the process ends or the time is up; the process
    is stopped then.
    """
    began = time.monotonic()
    while True:
        if not process.alive:
            status = process.exit_status
            process.stop()
            raise RunError(
                f"the server ended with status {status} before it was ready. Its log ends:\n{process.tail()}"
            )
        waited = time.monotonic() - began
        if _healthy(health_url, min(PROBE_TIMEOUT_S, max(HEALTH_POLL_S, timeout_s - waited))):
            return waited
        if waited > timeout_s:
            process.stop()
            raise RunError(
                f"the server was not ready after servers.start_timeout_s = {timeout_s:g} s. "
                f"Its log ends:\n{process.tail()}"
            )
        time.sleep(HEALTH_POLL_S)


def _healthy(url: str, timeout_s: float) -> bool:
    try:
        with DIRECT.open(url, timeout=timeout_s) as response:
            return bool(response.status == 200)
    except (OSError, http.client.HTTPException):
        return False


Started = TypeVar("Started")
STEP_S = 0.02
FAREWELL_S = 60  # for what the actor still has to write down when it gives up


class Keeper:
    """Owns one server for the life of its actor. It starts it in a thread of its own, because that blocks.

    `farewell` is awaited before the keeper ends the process; `ready` is called whenever the server has become
    ready: with its address, how often it was started so far (`starts`), and the seconds that it took.
    """

    def __init__(self, server: Server, asked: Servers) -> None:
        self.server, self.asked = server, asked
        self.farewell: Callable[[], Awaitable[None]] | None = None
        self.ready: Callable[[ServerAddress, int, float], None] | None = None
        self.starts = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="keeper")
        self._deaths: deque[float] = deque(maxlen=asked.max_deaths)
        self._reviving: asyncio.Lock | None = None

    def start(self) -> ServerAddress:
        """Start the server; blocks until it is ready. Raises RunError when it can't be."""
        return self._thread.submit(self._start).result()

    def _start(self) -> ServerAddress:
        began = time.monotonic()
        address = self.server.start()
        self.starts += 1
        if self.ready:
            self.ready(address, self.starts, time.monotonic() - began)
        return address

    async def revive(
        self,
        turn_to: Callable[[ServerAddress], Awaitable[None]],
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
            await asyncio.sleep(STEP_S)

    async def _in_thread(self, call: Callable[[], Started]) -> Started:
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
