"""The keeper: a dead server is started again, once for all who ask, and not for ever."""

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from actors.keeper import Keeper
from actors.server import Address
from extraction.errors import OperatorError, RunError
from extraction.settings import Servers
from tests.fakes.process import ROOT

LENIENT = Servers(max_deaths=100)


class Mortal:
    """A server without a process: starting takes a moment, and it dies when told to."""

    name = "mortal"

    def __init__(self, failure: Exception | None = None, start_s: float = 0.05) -> None:
        self.failure, self.start_s = failure, start_s
        self.alive, self.starts, self.stops = False, 0, 0
        self.threads: set[int] = set()

    def start(self) -> Address:
        time.sleep(self.start_s)
        self.threads.add(threading.get_ident())
        self.starts += 1
        if self.failure and self.starts > 1:
            raise self.failure
        self.alive = True
        return Address(f"http://127.0.0.1:{self.starts}/v1", "k", "house", 1)

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


async def revive_all(keeper: Keeper, callers: int) -> list[Address]:
    """Many callers find the server dead at once; the addresses that the client is turned to."""
    turned: list[Address] = []

    async def turn_to(address: Address) -> None:
        await asyncio.sleep(0.01)
        turned.append(address)

    await asyncio.gather(*(keeper.revive(turn_to) for _ in range(callers)))
    return turned


def test_a_dead_server_is_started_again_once_for_all_who_ask() -> None:
    server = Mortal()
    with kept(server) as keeper:
        server.alive = False
        turned = asyncio.run(revive_all(keeper, 50))
    assert (server.starts, len(turned)) == (2, 1)
    assert turned[0].url == "http://127.0.0.1:2/v1"


def test_who_asks_meanwhile_waits_until_the_client_has_turned() -> None:
    server = Mortal(start_s=0.1)
    order: list[str] = []

    async def turn_to(_: Address) -> None:
        await asyncio.sleep(0.05)
        order.append("turned")

    async def ask() -> None:
        await keeper.revive(turn_to)
        order.append("returned")

    async def ask_thrice() -> None:
        await asyncio.gather(ask(), ask(), ask())

    with kept(server) as keeper:
        server.alive = False
        asyncio.run(ask_thrice())
    assert order == ["turned", "returned", "returned", "returned"]


def test_the_loop_goes_on_while_a_server_starts() -> None:
    server = Mortal(start_s=0.3)

    async def tick() -> int:
        revival = asyncio.create_task(revive_all(keeper, 1))
        ticks = 0
        while not revival.done():
            await asyncio.sleep(0.01)
            ticks += 1
        return ticks

    with kept(server) as keeper:
        server.alive = False
        assert asyncio.run(tick()) > 5


def test_a_server_that_lives_is_left_alone() -> None:
    server = Mortal()
    with kept(server) as keeper:
        assert asyncio.run(revive_all(keeper, 10)) == []
    assert server.starts == 1


def test_each_death_is_followed_by_a_start_in_the_same_thread() -> None:
    server = Mortal(start_s=0)

    async def die_and_live() -> None:
        for _ in range(5):
            server.alive = False
            await revive_all(keeper, 3)

    with kept(server) as keeper:
        asyncio.run(die_and_live())
    assert server.starts == 6
    assert len(server.threads) == 1 and threading.get_ident() not in server.threads


def test_deaths_far_apart_are_forgiven() -> None:
    server = Mortal(start_s=0)
    asked = Servers(max_deaths=2, deaths_within_s=0.05)

    async def die_now_and_then() -> None:
        for _ in range(4):
            server.alive = False
            await revive_all(keeper, 1)
            await asyncio.sleep(0.1)

    with kept(server, asked) as keeper:
        asyncio.run(die_now_and_then())
    assert server.starts == 5


def test_a_failed_first_start_is_raised() -> None:
    server = Mortal(RunError("no memory"))
    server.starts = 1
    with pytest.raises(RunError, match="no memory"), kept(server):
        pass


def test_a_mistake_of_the_operator_is_raised_at_a_later_start_too() -> None:
    server = Mortal(OperatorError("the model is gone"))
    with kept(server) as keeper:
        server.alive = False
        with pytest.raises(OperatorError, match="the model is gone"):
            asyncio.run(revive_all(keeper, 1))


def test_stop_ends_the_server() -> None:
    server = Mortal()
    with kept(server):
        assert server.alive
    assert (server.alive, server.stops) == (False, 1)


def die(failure: Exception | None, deaths: int) -> None:
    """Run in a process of its own: the server dies again and again."""

    class Loud(Mortal):
        def stop(self) -> None:
            print("stopped", flush=True)

    server = Loud(failure, start_s=0)
    keeper = Keeper(server, Servers(max_deaths=3))
    keeper.start()

    async def live() -> None:
        for number in range(1, deaths + 1):
            server.alive = False
            print("death", number, flush=True)
            await revive_all(keeper, 2)
            print("alive", flush=True)

    try:
        asyncio.run(live())
    except BaseException:
        print("raised", flush=True)
        raise


@pytest.mark.parametrize(
    ("failure", "seen", "said"),
    [
        (
            "None",
            ["death 1", "alive", "death 2", "alive", "death 3", "stopped"],
            "mortal: died 3 times in 0 s, giving up",
        ),
        ("RunError('no memory')", ["death 1"], "mortal: no memory"),
    ],
)
def test_the_process_ends_with_status_1_when_there_is_no_hope(failure: str, seen: list[str], said: str) -> None:
    code = f"from tests.actors.test_keeper import RunError, die; die({failure}, 9)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.splitlines()) == (1, seen)
    assert done.stderr.splitlines()[-1] == said
