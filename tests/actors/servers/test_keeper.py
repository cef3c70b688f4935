"""The keeper: a server that is dead or hung is started again, once for all who ask."""

import asyncio
import threading

import pytest

from actors.servers.supervisor import Address
from extraction.config.settings import Servers
from extraction.errors import OperatorError, RunError
from tests.actors.mortal import Mortal, kept, revive_all, stay, verdict


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


@pytest.mark.parametrize(("hung", "starts", "stops"), [(False, 1, 0), (True, 2, 1)])
def test_a_server_that_lives_is_killed_and_started_again_if_it_is_hung(hung: bool, starts: int, stops: int) -> None:
    server = Mortal()
    with kept(server) as keeper:
        asyncio.run(keeper.revive(stay, hung=verdict(hung)))
        assert (server.starts, server.stops) == (starts, stops)


def test_a_dead_server_is_not_asked_whether_it_is_hung() -> None:
    server = Mortal()
    with kept(server) as keeper:
        server.alive = False
        asyncio.run(keeper.revive(stay, hung=verdict(False)))
    assert server.starts == 2


def test_what_lives_on_when_it_is_stopped_is_somebody_elses() -> None:
    class Foreign(Mortal):
        def stop(self) -> None:
            self.stops += 1

    server = Foreign()
    with kept(server, Servers(max_deaths=1)) as keeper:
        asyncio.run(keeper.revive(stay, hung=verdict(True)))
        assert (server.starts, server.stops) == (1, 1)


@pytest.mark.parametrize(("patience_s", "starts"), [(0, 1), (10, 2)])
def test_a_death_may_take_a_moment_to_be_seen(patience_s: float, starts: int) -> None:
    server = Mortal()

    async def die_late() -> None:
        revival = asyncio.create_task(keeper.revive(stay, patience_s=patience_s))
        await asyncio.sleep(0.05)
        server.alive = False
        await revival

    with kept(server) as keeper:
        asyncio.run(die_late())
    assert server.starts == starts


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
