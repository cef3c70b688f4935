"""What a server is to the extractor: an address to ask, and a life to look after."""

import http.client
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from actors.servers.process import ServerProcess
from extraction.errors import RunError

POLL_S = 0.2
PROBE_TIMEOUT_S = 30
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Address:
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

    def start(self) -> Address:
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
        if _healthy(health_url, min(PROBE_TIMEOUT_S, max(POLL_S, timeout_s - waited))):
            return waited
        if waited > timeout_s:
            process.stop()
            raise RunError(
                f"the server was not ready after servers.start_timeout_s = {timeout_s:g} s. "
                f"Its log ends:\n{process.tail()}"
            )
        time.sleep(POLL_S)


def _healthy(url: str, timeout_s: float) -> bool:
    try:
        with DIRECT.open(url, timeout=timeout_s) as response:
            return bool(response.status == 200)
    except (OSError, http.client.HTTPException):
        return False
