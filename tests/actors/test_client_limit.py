"""Many questions at once: never more than the server's limit, none held up by another."""

import asyncio
import time
from collections.abc import Iterator

import pytest

from actors.retrying_client import Answer, Client
from tests.actors.asking import SCHEMA, TEXT, address, ask, question, settings
from tests.actors.processes import eventually
from tests.fakes.process import FakeServer


@pytest.fixture
def slow() -> Iterator[FakeServer]:
    """A fake server that takes its time."""
    with FakeServer("--latency", "0.1") as server:
        yield server


def test_no_more_requests_than_the_limit_are_under_way(slow: FakeServer) -> None:
    began = time.monotonic()
    answers = ask(address(slow, limit=5), *(question(f"{TEXT} {n}", f"c{n}") for n in range(30)))
    assert time.monotonic() - began >= 30 / 5 * 0.1
    assert [answer.chunk_id for answer in answers] == [f"c{n}" for n in range(30)]
    assert all(answer.replies for answer in answers)
    assert slow.stats()["max_in_flight"] == 5
    assert max(answer.in_flight for answer in answers) == 5


def test_a_slow_answer_holds_no_other_up(fake: FakeServer) -> None:
    late = question(f"{TEXT} [[fault:delay=1]]")
    first, *others = ask(address(fake, limit=2), late, *(question(f"{TEXT} {n}") for n in range(10)))
    assert first.latency_s >= 1 and first.replies
    assert max(answer.latency_s for answer in others) < first.latency_s


def test_who_backs_off_takes_no_slot(fake: FakeServer) -> None:
    asked = settings(requests={"backoff_max_s": 5})
    busy = question(f"{TEXT} [[fault:503=1*1]]")
    first, *others = ask(address(fake, limit=1), busy, *(question(f"{TEXT} {n}") for n in range(5)), asked=asked)
    assert first.latency_s >= 1 and first.replies
    assert max(answer.latency_s for answer in others) < first.latency_s


def test_waiting_for_a_slot_is_not_counted_into_the_deadline(slow: FakeServer) -> None:
    quick = settings(requests={"deadline_s": 1, "attempts": 1})
    late = [question(f"{TEXT} {n} [[fault:delay=0.3]]") for n in range(4)]
    answers = ask(address(slow, limit=1), *late, asked=quick)
    assert [answer.fault for answer in answers] == [None] * 4
    assert max(answer.latency_s for answer in answers) > 1


@pytest.mark.parametrize("limit", [2, 3, 5])
def test_a_new_servers_limit_holds_from_then_on(fake: FakeServer, limit: int) -> None:
    """Some requests are under way at the old address, others wait for a slot."""

    async def ask_all() -> list[Answer]:
        client = Client(address(fake, limit=3), settings(), SCHEMA)
        fake.order([{"fault": "hang", "count": 3}])
        tasks = [asyncio.create_task(client.ask(question(f"{TEXT} {n}"))) for n in range(3)]
        try:
            assert await asyncio.to_thread(eventually, lambda: fake.stats()["in_flight"] == 3)
            tasks += [asyncio.create_task(client.ask(question(f"{TEXT} {n}"))) for n in range(3, 12)]
            await asyncio.sleep(0)
            await client.reconnect(address(following, limit=limit))
            return await asyncio.wait_for(asyncio.gather(*tasks), 20)
        finally:
            await client.close()

    with FakeServer("--latency", "0.1") as following:
        answers = asyncio.run(ask_all())
        assert [answer.fault for answer in answers] == [None] * 12
        assert following.stats()["max_in_flight"] == limit
