"""Starts a server, restarts it when it crashes or hangs, and gives up when that happens too often.

`Server` is the interface that each engine implements.
"""

import asyncio
import contextlib
import http.client
import os
import socket
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

PROCESS_NAME = f"{socket.gethostname()}:{os.getpid()}"
HEALTH_POLL_S = 0.2
PROBE_TIMEOUT_S = 30
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class ServerAddress:
    """A server's URL, key and model. `limit` is the number of requests that it works on at a time, `metrics` the
    URL of its Prometheus metrics. `facts` describe its configuration, without secrets, as JSON values."""

    url: str
    api_key: str = field(repr=False)
    model: str
    limit: int
    metrics: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class ServerReady:
    """The report of a server that has become ready: the actor that owns it (as in results), the requests that it
    takes at a time, the number of its starts, the seconds that the last one took, when, the facts of its address,
    and when its first process was started (seconds since 1970)."""

    server: str
    name: str
    limit: int
    starts: int
    start_s: float
    ready_at: float
    facts: Mapping[str, Any]
    started_at: float


class ServerRecords(Protocol):
    """Where it is written down when servers were ready, and when they ended."""

    def server_ready(self, ready: ServerReady) -> None:
        """Write down a start."""
        ...

    def server_ended(self, server: str, started_at: float, ended_at: float) -> None:
        """Write down when the first process of an actor's server was started and the last one ended (seconds since
        1970)."""
        ...


class Server(Protocol):
    """A server of any engine."""

    name: str

    def start(self) -> ServerAddress:
        """Start the server and wait until it is ready; blocks. Raises RunError with one cause when it fails."""
        ...

    @property
    def alive(self) -> bool:
        """Whether the server runs."""
        ...

    def stop(self) -> None:
        """End the server and free all that it holds."""
        ...


def wait_until_healthy(process: ServerProcess, health_url: str, *, timeout_s: float) -> float:
    """Wait for a 200 from the health URL and return the seconds it took.

    Raises RunError, with the last lines of the log, when the process ends or the time is up; the process
    is stopped then.
    """
    started = time.monotonic()
    while True:
        if not process.alive:
            status = process.exit_status
            process.stop()
            raise RunError(
                f"the server ended with status {status} before it was ready. Its log ends:\n{process.tail()}"
            )
        waited = time.monotonic() - started
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


Value = TypeVar("Value")
EXIT_POLL_S = 0.02
SHUTDOWN_HOOK_S = 60  # for the actor to write its last results when it gives up


class ServerSupervisor:
    """Owns one server for the life of its actor. It starts the server in a thread of its own, because that blocks.

    `on_shutdown` is awaited before the supervisor ends the process. The records are told whenever the server is
    ready and, if it was ever started, when it has ended for good; a record that fails stops nothing.
    """

    def __init__(self, server: Server, settings: Servers, records: ServerRecords | None = None) -> None:
        self.server, self.settings, self._records = server, settings, records
        self.on_shutdown: Callable[[], Awaitable[None]] | None = None
        self.started_at: float | None = None
        self.starts = 0
        self._began = self._ready_at = 0.0  # monotonic: of the last start
        self._served_s = 0.0  # in which the server was up, before its last death
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="supervisor")
        self._crashes: deque[float] = deque(maxlen=settings.max_deaths)
        self._restarting: asyncio.Lock | None = None

    def start(self) -> ServerAddress:
        """Start the server; blocks until it listens. Raises RunError when it fails."""
        return self._thread.submit(self._start).result()

    def _start(self) -> ServerAddress:
        self._began = time.monotonic()
        self.started_at = self.started_at or time.time()
        address = self.server.start()
        self.starts += 1
        return address

    def ready(self, address: ServerAddress) -> float:
        """Write down that the server answers at an address; the seconds that its last start took until now."""
        self._ready_at = time.monotonic()
        seconds, now, name = self._ready_at - self._began, time.time(), self.server.name
        ready = ServerReady(
            PROCESS_NAME, name, address.limit, self.starts, seconds, now, address.facts, self.started_at or now
        )
        try:
            if self._records:
                self._records.server_ready(ready)
        except Exception as error:
            log_line(f"{name}: its start could not be written down ({error})")
        return seconds

    def _start_again(self) -> ServerAddress:
        address = self._start()
        self.ready(address)
        return address

    async def restart(
        self,
        reconnect: Callable[[ServerAddress], Awaitable[None]],
        *,
        is_hung: Callable[[], Awaitable[bool]] | None = None,
        exit_delay_s: float = 0,
        counted: bool = True,
    ) -> None:
        """Restart a dead server and reconnect the client to it; concurrent callers wait for the same restart.

        A server that was killed may take up to `exit_delay_s` to exit. One that runs is stopped only if `is_hung`
        returns true; if it still runs then, it belongs to somebody else and is left alone. After too many crashes
        that are `counted` the process ends, with a status that makes Ray restart the actor elsewhere (after exit
        code 0 it would not).
        """
        self._restarting = self._restarting or asyncio.Lock()
        await self._wait_for_exit(exit_delay_s)
        async with self._restarting:
            event = "died"
            if self.server.alive:
                if is_hung is None or not await is_hung():
                    return
                await self._in_thread(self.server.stop)
                if self.server.alive:
                    return
                event = "stopped answering"
            if counted:
                await self._count_crash()
            log_line(f"{self.server.name}: {event}, starting it again")
            try:
                address = await self._in_thread(self._start_again)
            except RunError as error:
                await self.exit_process(str(error))
            await reconnect(address)

    async def _wait_for_exit(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while self.server.alive and time.monotonic() < deadline:
            await asyncio.sleep(EXIT_POLL_S)

    async def _in_thread(self, call: Callable[[], Value]) -> Value:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    async def _count_crash(self) -> None:
        # Starts do not count: they take minutes, in which nothing can die.
        self._served_s += time.monotonic() - self._ready_at
        self._crashes.append(self._served_s)
        seconds, limit = self._crashes[-1] - self._crashes[0], self.settings.max_deaths
        if len(self._crashes) == limit and seconds < self.settings.deaths_within_s:
            await self.exit_process(f"died {limit} times in {seconds:.0f} s, giving up")

    async def exit_process(self, reason: str) -> NoReturn:
        """End the process with status 1, after `on_shutdown`; Ray restarts the actor."""
        log_line(f"{self.server.name}: {reason}")
        with contextlib.suppress(Exception):
            if self.on_shutdown:
                await asyncio.wait_for(self.on_shutdown(), SHUTDOWN_HOOK_S)
        self._end()  # also what is left of its process group after the watchdog died
        os._exit(1)

    def stop(self) -> None:
        """End the server."""
        self._end()
        self._thread.shutdown(wait=False)

    def _end(self) -> None:
        self.server.stop()
        records, self._records = self._records, None
        if records and self.started_at:
            with contextlib.suppress(Exception):
                records.server_ended(PROCESS_NAME, self.started_at, time.time())


LOG_MARK = "company-profiles: "  # by which the driver knows our lines among all that Ray forwards


def log_line(text: str) -> None:
    """Print a line, or several, to the actor's log, from which the driver shows them."""
    print("\n".join(LOG_MARK + line for line in text.splitlines()), file=sys.stderr, flush=True)
