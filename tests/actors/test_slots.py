"""Slots: never more than the limit, and nobody in larger company than asked for."""

import asyncio
import math
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.retrying_client import Slots

VISITS = st.tuples(st.sampled_from([1, 2, 3, math.inf]), st.integers(0, 3))


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 20))


@given(st.integers(1, 5), st.lists(VISITS, max_size=12))
def test_no_more_than_the_limit_and_than_anybody_bears(limit: int, wanted: list[tuple[float, int]]) -> None:
    slots, inside, seen = Slots(limit), list[float](), list[list[float]]()

    async def visit(most: float, turns: int) -> None:
        async with slots.one(most):
            inside.append(most)
            for _ in range(turns + 1):
                seen.append([*inside])
                await asyncio.sleep(0)
            inside.remove(most)

    async def visit_all() -> None:
        await asyncio.gather(*(visit(*each) for each in wanted))

    run(visit_all())
    assert len(seen) == sum(turns + 1 for _, turns in wanted)
    assert all(len(some) <= min(limit, *some) for some in seen)
    assert slots.taken == 0


def test_the_most_demanding_go_first_and_the_others_in_their_order() -> None:
    async def check() -> None:
        slots, order = Slots(2), list[str]()

        async def visit(name: str, most: float) -> None:
            async with slots.one(most):
                order.append(name)
                await asyncio.sleep(0)

        async with slots.one():
            wanted = {"a": math.inf, "b": 2, "alone": 1, "c": 2, "d": math.inf}
            tasks = [asyncio.create_task(visit(name, most)) for name, most in wanted.items()]
            await asyncio.sleep(0.01)
            assert order == ["a"]
        await asyncio.gather(*tasks)
        assert order == ["a", "alone", "b", "c", "d"]

    run(check())


@pytest.mark.parametrize("most", [1, math.inf])
@pytest.mark.parametrize("admitted", [False, True])
def test_who_is_cancelled_takes_no_slot(most: float, admitted: bool) -> None:
    async def check() -> None:
        slots = Slots(1)

        async def visit() -> None:
            async with slots.one(most):
                pass

        async with slots.one():
            waiting = asyncio.create_task(visit())
            await asyncio.sleep(0)
            if not admitted:
                waiting.cancel()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert waiting.cancelled() and slots.taken == 0
        await visit()

    run(check())


def test_a_changed_limit_holds_for_who_comes_next() -> None:
    async def check() -> None:
        slots = Slots(1)

        async def visit() -> None:
            async with slots.one():
                await asyncio.sleep(0)

        async with slots.one():
            tasks = [asyncio.create_task(visit()) for _ in range(3)]
            await asyncio.sleep(0)
            slots.resize(3)
            assert slots.taken == 3
            slots.resize(1)
            await asyncio.gather(*tasks[:2])
            assert slots.taken == 1
        await asyncio.gather(*tasks)
        assert slots.taken == 0

    run(check())


def test_closed_slots_let_nobody_in_and_hold_nobody_back() -> None:
    slots = Slots(2)

    async def visit_all() -> None:
        ended = asyncio.Event()

        async def visit() -> None:
            async with slots.one():
                await ended.wait()

        visits = [asyncio.create_task(visit()) for _ in range(5)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert (slots.taken, slots.waiting) == (2, 3)
        slots.close()
        slots.resize(5)
        ended.set()
        await asyncio.gather(*visits[:2])
        await asyncio.sleep(0)
        assert (slots.taken, slots.waiting) == (0, 3)
        for task in visits[2:]:
            task.cancel()

    run(visit_all())
