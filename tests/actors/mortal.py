"""A server that dies when a test wants it to, and a keeper that looks after it."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from actors.servers.supervisor import Keeper, ServerAddress
from extraction.config.settings import Servers

LENIENT = Servers(max_deaths=100)


class Mortal:
    """A server without a process: starting takes a moment, and it dies when told to."""

    name = "mortal"

    def __init__(self, failure: Exception | None = None, start_s: float = 0.05) -> None:
        self.failure, self.start_s = failure, start_s
        self.alive, self.starts, self.stops = False, 0, 0
        self.threads: set[int] = set()

    def start(self) -> ServerAddress:
        time.sleep(self.start_s)
        self.threads.add(threading.get_ident())
        self.starts += 1
        if self.failure and self.starts > 1:
            raise self.failure
        self.alive = True
        return ServerAddress(f"http://127.0.0.1:{self.starts}/v1", "k", "house", 1)

    def stop(self) -> None:
        self.alive = False
        self.stops += 1


@contextmanager
def kept(server: Mortal, asked: Servers = LENIENT) -> Iterator[Keeper]:
    keeper = Keeper(server, asked)
    keeper.start()
    try:
        yield keeper
    finally:
        keeper.stop()


async def revive_all(keeper: Keeper, callers: int) -> list[ServerAddress]:
    """Many callers find the server dead at once; the addresses that the client is turned to."""
    turned: list[ServerAddress] = []

    async def turn_to(address: ServerAddress) -> None:
        await asyncio.sleep(0.01)
        turned.append(address)

    await asyncio.gather(*(keeper.revive(turn_to) for _ in range(callers)))
    return turned


async def stay(address: ServerAddress) -> None:
    """Turn nowhere."""


def verdict(hung: bool) -> Callable[[], Awaitable[bool]]:
    async def say() -> bool:
        return hung

    return say
