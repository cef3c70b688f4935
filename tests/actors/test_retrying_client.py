"""The client ends every request in a profile or one fault, after no more attempts than may help."""

import asyncio
import json
import math
import time
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.concurrency_limit import ConcurrencyLimit
from actors.results import Result
from actors.retrying_client import Client
from extraction.errors import Fault
from extraction.prompting.logprobs import leaves
from extraction.schema.company import ShortProfile
from tests.actors.clients import SCHEMA, TEXT, address_of, extract, extract_text, make_request, make_settings
from tests.actors.scripted_server import PROFILE, PROFILE_TEXT, Reply, ScriptedServer, completion
from tests.fakes.process import FakeServer, eventually


def scripted(
    *replies: Reply, max_tokens: int = 200, **sections: dict[str, Any]
) -> tuple[Result, list[dict[str, Any]]]:
    """The result of one request to a scripted server, and the bodies of all HTTP requests."""
    with ScriptedServer(*replies) as server:
        request = make_request(max_tokens=max_tokens)
        (result,) = extract(server.address, request, settings=make_settings(**sections))
    return result, [request.body for request in server.requests]


def test_a_good_reply_is_a_profile(fake: FakeServer) -> None:
    result = extract_text(address_of(fake), TEXT)
    profile = ShortProfile.model_validate_json(result.replies[0])
    assert (profile.name, profile.founded_year) == ("Acme Widgets Ltd", 1987)
    assert (result.chunk_id, result.fault, result.message) == ("c1", None, "")
    assert (result.attempts, result.in_flight) == (1, 1)
    assert result.prompt_tokens > 10 < result.completion_tokens
    assert result.latency_s > 0


def test_the_document_is_the_last_message_and_the_reply_is_kept_as_written() -> None:
    result, (body,) = scripted(completion(f" {PROFILE_TEXT}\n"))
    assert result.replies == (f" {PROFILE_TEXT}\n",)
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    assert body["messages"][-1]["content"] == TEXT


@pytest.mark.parametrize("name", ["429", "503", "reset", "abort"])
def test_a_transient_failure_is_retried_until_attempts_end(fake: FakeServer, name: str) -> None:
    result = extract_text(address_of(fake), f"{TEXT} [[fault:{name}*2]]")
    assert (result.fault, result.message, result.attempts, len(result.replies)) == (None, "", 3, 1)
    result = extract_text(address_of(fake), f"{TEXT} [[fault:{name}]]")
    fault = Fault.ABORTED if name == "abort" else Fault.UNAVAILABLE
    assert (result.fault, result.replies, result.attempts) == (fault, (), 3)
    assert result.message


def test_a_deadline_ends_an_attempt(fake: FakeServer) -> None:
    settings = make_settings(requests={"deadline_s": 0.3, "attempts": 2})
    result = extract_text(address_of(fake), f"{TEXT} [[fault:hang]]", settings)
    assert (result.fault, result.attempts) == (Fault.DEADLINE, 2)
    assert result.latency_s >= 0.6
    assert eventually(lambda: fake.stats()["in_flight"] == 0)


def test_retry_after_is_honoured() -> None:
    settings = make_settings(requests={"backoff_s": 0.001, "backoff_max_s": 5})
    with ScriptedServer(Reply(status=429, headers={"Retry-After": "0.4"}), completion()) as server:
        began = time.monotonic()
        (result,) = extract(server.address, make_request(), settings=settings)
    assert result.replies and time.monotonic() - began - result.latency_s >= 0.4


def test_retry_after_is_capped(fake: FakeServer) -> None:
    result = extract_text(address_of(fake), f"{TEXT} [[fault:503=3600*1]]")
    assert (result.fault, result.attempts) == (None, 2)


REFUSED = Reply(json.dumps({"message": "the prompt is longer than the context length"}).encode(), 400)


@pytest.mark.parametrize(
    ("reply", "fault"),
    [
        (REFUSED, Fault.TOO_LONG),
        (Reply(b'{"message": "no such grammar"}', 400), Fault.REJECTED),
        (completion(None, "content_filter"), Fault.REJECTED),
    ],
)
def test_what_no_attempt_helps_is_not_retried(reply: Reply, fault: Fault) -> None:
    result, bodies = scripted(reply)
    assert (result.fault, result.attempts, len(bodies)) == (fault, 1, 1)


def test_a_truncated_reply_gets_more_tokens_once() -> None:
    cut = completion('{"name": "Acme Wid', "length")
    result, bodies = scripted(cut, max_tokens=200)
    assert (result.fault, result.attempts, result.truncated) == (Fault.TRUNCATED, 2, 2)
    first, second = bodies
    assert (first.pop("max_tokens"), second.pop("max_tokens")) == (200, 400)
    assert first == second
    result, bodies = scripted(cut, completion())
    assert (result.fault, len(bodies), result.truncated) == (None, 2, 1)


def test_more_tokens_end_with_the_context() -> None:
    cut = completion('{"name": "Acme Wid', "length")
    _, bodies = scripted(cut, max_tokens=600)
    assert [body["max_tokens"] for body in bodies] == [600, 899]  # a context of 1,000, a prompt of 100
    result, bodies = scripted(cut, max_tokens=899)
    assert (result.fault, [body["max_tokens"] for body in bodies]) == (Fault.TRUNCATED, [899])


@pytest.mark.parametrize(
    ("spoiled", "fault"),
    [
        (completion("Sure! Here is the profile."), Fault.INVALID),
        (completion(json.dumps({"unexpected": True})), Fault.INVALID),
        (completion(None), Fault.INVALID),
        (completion(["a list"]), Fault.INVALID),
        (completion("[" * 100_000), Fault.INVALID),
        (completion(json.dumps({**PROFILE, "more": 1})), Fault.INVALID),
        (completion("1.0." * 400, "length"), Fault.REPETITION),
        (completion(" " * 2000, "length"), Fault.REPETITION),
    ],
)
def test_an_invalid_reply_is_retried_once_with_other_sampling(spoiled: Reply, fault: Fault) -> None:
    sampling = {"retry_temperature": 0.7, "retry_frequency_penalty": 0.9, "seed": 11}
    result, (first, second) = scripted(spoiled, sampling=sampling)
    assert (result.fault, result.replies, result.attempts) == (fault, (), 2)
    changed = {name: (first[name], second[name]) for name in first if first[name] != second[name]}
    assert changed == {"temperature": (0.0, 0.7), "frequency_penalty": (0.0, 0.9), "seed": (11, 12)}


def test_tokens_are_summed_over_attempts() -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 4}}
    bad = completion("no", usage=usage)
    result, _ = scripted(bad, Reply(status=503), completion(usage=usage))
    assert (result.prompt_tokens, result.completion_tokens, result.cached_tokens) == (20, 6, 8)


def test_a_result_has_the_log_probabilities_of_its_values(fake: FakeServer) -> None:
    (result,) = extract(address_of(fake), make_request(), logprobs=True)
    (scores,) = result.scores
    assert len(scores) == leaves(json.loads(result.replies[0]))
    assert all(score <= 0 for score in scores) and scores[-1] < scores[0]
    assert extract_text(address_of(fake), TEXT).scores == ((),)


@pytest.fixture
def slow() -> Iterator[FakeServer]:
    """A fake server with a latency of 0.1 s."""
    with FakeServer("--latency", "0.1") as server:
        yield server


def test_no_more_requests_than_the_limit_are_in_flight(slow: FakeServer) -> None:
    began = time.monotonic()
    results = extract(address_of(slow, limit=5), *(make_request(f"{TEXT} {n}", f"c{n}") for n in range(30)))
    assert time.monotonic() - began >= 30 / 5 * 0.1
    assert [result.chunk_id for result in results] == [f"c{n}" for n in range(30)]
    assert all(result.replies for result in results)
    assert slow.stats()["max_in_flight"] == 5
    assert max(result.in_flight for result in results) == 5


def test_a_slow_request_delays_no_other(fake: FakeServer) -> None:
    late = make_request(f"{TEXT} [[fault:delay=1]]")
    first, *others = extract(address_of(fake, limit=2), late, *(make_request(f"{TEXT} {n}") for n in range(10)))
    assert first.latency_s >= 1 and first.replies
    assert max(result.latency_s for result in others) < first.latency_s


def test_a_request_that_backs_off_holds_no_slot(fake: FakeServer) -> None:
    settings = make_settings(requests={"backoff_max_s": 5})
    busy = make_request(f"{TEXT} [[fault:503=1*1]]")
    first, *others = extract(
        address_of(fake, limit=1), busy, *(make_request(f"{TEXT} {n}") for n in range(5)), settings=settings
    )
    assert first.attempts == 2 and first.replies
    assert max(result.ended_at for result in others) < first.ended_at


def test_waiting_for_a_slot_is_counted_into_no_deadline_and_no_latency(slow: FakeServer) -> None:
    settings = make_settings(requests={"deadline_s": 2, "attempts": 1})
    late = [make_request(f"{TEXT} {n} [[fault:delay=0.2]]") for n in range(8)]
    began = time.monotonic()
    results = extract(address_of(slow, limit=1), *late, settings=settings)
    took_s = time.monotonic() - began
    assert [result.fault for result in results] == [None] * 8
    assert took_s >= sum(result.latency_s for result in results) >= 8 * 0.3 > settings.requests.deadline_s


@pytest.mark.parametrize("limit", [2, 3, 5])
def test_a_new_servers_limit_holds_from_then_on(fake: FakeServer, limit: int) -> None:
    """Some requests are in flight to the old address, others wait for a slot."""

    async def extract_all() -> list[Result]:
        client = Client(address_of(fake, limit=3), make_settings(), SCHEMA)
        fake.order([{"fault": "hang", "count": 3}])
        tasks = [asyncio.create_task(client.extract(make_request(f"{TEXT} {n}"))) for n in range(3)]
        try:
            assert await asyncio.to_thread(eventually, lambda: fake.stats()["in_flight"] == 3)
            tasks += [asyncio.create_task(client.extract(make_request(f"{TEXT} {n}"))) for n in range(3, 12)]
            await asyncio.sleep(0)
            await client.reconnect(address_of(following, limit=limit))
            return await asyncio.wait_for(asyncio.gather(*tasks), 20)
        finally:
            await client.close()

    with FakeServer("--latency", "0.1") as following:
        results = asyncio.run(extract_all())
        assert [result.fault for result in results] == [None] * 12
        assert following.stats()["max_in_flight"] == limit


VISITS = st.tuples(st.sampled_from([1, 2, 3, math.inf]), st.integers(0, 3))


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 20))


@given(st.integers(1, 5), st.lists(VISITS, max_size=12))
def test_no_more_than_the_limit_and_than_each_requests_own_limit(
    limit: int, visits: list[tuple[float, int]]
) -> None:
    slots, in_flight, seen = ConcurrencyLimit(limit), list[float](), list[list[float]]()

    async def visit(max_in_flight: float, turns: int) -> None:
        async with slots.slot(max_in_flight):
            in_flight.append(max_in_flight)
            for _ in range(turns + 1):
                seen.append([*in_flight])
                await asyncio.sleep(0)
            in_flight.remove(max_in_flight)

    async def visit_all() -> None:
        await asyncio.gather(*(visit(*arguments) for arguments in visits))

    run(visit_all())
    assert len(seen) == sum(turns + 1 for _, turns in visits)
    assert all(len(limits) <= min(limit, *limits) for limits in seen)
    assert slots.in_flight == 0


def test_the_lowest_limits_go_first_and_the_others_in_their_order() -> None:
    async def check() -> None:
        slots, order = ConcurrencyLimit(2), list[str]()

        async def visit(name: str, max_in_flight: float) -> None:
            async with slots.slot(max_in_flight):
                order.append(name)
                await asyncio.sleep(0)

        async with slots.slot():
            visits = {"a": math.inf, "b": 2, "alone": 1, "c": 2, "d": math.inf}
            tasks = [asyncio.create_task(visit(name, max_in_flight)) for name, max_in_flight in visits.items()]
            await asyncio.sleep(0.01)
            assert order == ["a"]
        await asyncio.gather(*tasks)
        assert order == ["a", "alone", "b", "c", "d"]

    run(check())


def test_a_pause_holds_for_all_and_teaches_the_rate() -> None:
    async def check() -> None:
        slots, admitted = ConcurrencyLimit(9), list[float]()

        async def visit() -> None:
            async with slots.slot():
                admitted.append(time.monotonic())

        await asyncio.gather(*(visit() for _ in range(4)))
        for _ in range(4):
            slots.passed()
        paused_at = time.monotonic()
        assert slots.pause(0.2) and not slots.pause(0.1)
        await asyncio.gather(*(visit() for _ in range(4)))
        after = [at - paused_at for at in admitted[4:]]
        assert all(at > 0.19 + 0.045 * n for n, at in enumerate(after))  # the four took 0.2 s, with the pause
        slots.passed()
        assert slots.pause(0)

    run(check())


@pytest.mark.parametrize("max_in_flight", [1, math.inf])
@pytest.mark.parametrize("admitted", [False, True])
def test_a_cancelled_request_holds_no_slot(max_in_flight: float, admitted: bool) -> None:
    async def check() -> None:
        slots = ConcurrencyLimit(1)

        async def visit() -> None:
            async with slots.slot(max_in_flight):
                pass

        async with slots.slot():
            waiting = asyncio.create_task(visit())
            await asyncio.sleep(0)
            if not admitted:
                waiting.cancel()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert waiting.cancelled() and slots.in_flight == 0
        await visit()

    run(check())


def test_a_changed_limit_holds_for_the_next_requests() -> None:
    async def check() -> None:
        slots = ConcurrencyLimit(1)

        async def visit() -> None:
            async with slots.slot():
                await asyncio.sleep(0)

        async with slots.slot():
            tasks = [asyncio.create_task(visit()) for _ in range(3)]
            await asyncio.sleep(0)
            slots.resize(3)
            assert slots.in_flight == 3
            slots.resize(1)
            await asyncio.gather(*tasks[:2])
            assert slots.in_flight == 1
        await asyncio.gather(*tasks)
        assert slots.in_flight == 0

    run(check())


def test_a_closed_limit_admits_no_more_and_releases_those_in_flight() -> None:
    slots = ConcurrencyLimit(2)

    async def visit_all() -> None:
        ended = asyncio.Event()

        async def visit() -> None:
            async with slots.slot():
                await ended.wait()

        visits = [asyncio.create_task(visit()) for _ in range(5)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert (slots.in_flight, slots.waiting) == (2, 3)
        slots.close()
        slots.resize(5)
        ended.set()
        await asyncio.gather(*visits[:2])
        await asyncio.sleep(0)
        assert (slots.in_flight, slots.waiting) == (0, 3)
        for task in visits[2:]:
            task.cancel()

    run(visit_all())


LINE = "Acme Widgets Ltd was founded in Graz in 1987 and sells {} bolts. "
LONG = "# Acme\n\n" + "\n\n".join(LINE.format(n) * 4 for n in range(8))
CUT = completion('{"name": "Acme Wid', "length", usage={"completion_tokens": 7})


def named(name: str) -> Reply:
    return completion(json.dumps({**PROFILE, "name": name}))


def scripted_parts(
    *replies: Reply, text: str = LONG, **sections: dict[str, Any]
) -> tuple[Result, list[str], list[int]]:
    """The result of one text from a scripted server, and the contents and `max_tokens` of all HTTP requests."""
    with ScriptedServer(*replies) as server:
        (result,) = extract(server.address, make_request(text), settings=make_settings(**sections))
    bodies = [request.body for request in server.requests]
    return result, [body["messages"][-1]["content"] for body in bodies], [body["max_tokens"] for body in bodies]


def names(result: Result) -> list[str]:
    return [json.loads(reply)["name"] for reply in result.replies]


def test_a_chunk_whose_reply_is_truncated_twice_is_sent_in_halves() -> None:
    result, contents, max_tokens = scripted_parts(CUT, CUT, named("one"), named("two"))
    assert (result.fault, result.message, names(result)) == (None, "", ["one", "two"])
    assert (result.attempts, result.truncated, result.completion_tokens) == (4, 2, 14)
    whole, again, first, second = contents
    assert whole == again == LONG == first + second.removeprefix("# Acme\n\n")
    assert first.startswith("# Acme\n\n") and second.startswith("# Acme\n\n")
    assert max_tokens == [200, 400, 200, 200]


def test_a_half_gets_more_tokens_and_is_sent_in_halves_too() -> None:
    result, contents, max_tokens = scripted_parts(CUT, CUT, CUT, CUT, named("a"), CUT, named("b"), named("c"))
    assert names(result) == ["a", "b", "c"]
    assert (result.attempts, result.truncated) == (8, 5)
    assert max_tokens == [200, 400, 200, 400, 200, 200, 400, 200]
    assert sorted(map(len, contents), reverse=True)[:2] == [len(LONG)] * 2


@pytest.mark.parametrize(("reply", "fault", "times"), [(CUT, Fault.TRUNCATED, 2), (REFUSED, Fault.TOO_LONG, 1)])
def test_no_part_is_smaller_than_a_quarter(reply: Reply, fault: Fault, times: int) -> None:
    result, contents, _ = scripted_parts(reply)
    assert (result.fault, result.replies) == (fault, ())
    assert result.attempts == len(contents) == 3 * times  # the whole, the first half, the first quarter
    assert result.truncated == (6 if reply is CUT else 0)


def test_a_part_without_a_profile_fails_the_chunk() -> None:
    result, contents, _ = scripted_parts(CUT, CUT, named("one"), completion("no JSON"))
    assert (result.fault, result.replies) == (Fault.INVALID, ())
    assert len(contents) == 5


def test_a_chunk_that_is_too_long_is_sent_in_halves_at_once() -> None:
    result, contents, _ = scripted_parts(REFUSED, named("one"), REFUSED, named("two"), named("three"))
    assert (result.fault, names(result), result.attempts) == (None, ["one", "two", "three"], 5)
    assert result.truncated == 0
    assert len(contents[0]) > len(contents[2]) > len(contents[4])


def test_each_part_has_its_attempts() -> None:
    busy = Reply(status=503)
    result, _, _ = scripted_parts(
        busy, REFUSED, busy, busy, named("one"), busy, named("two"), requests={"attempts": 3}
    )
    assert (result.fault, result.attempts) == (None, 7)
    result, _, _ = scripted_parts(REFUSED, busy, requests={"attempts": 3})
    assert (result.fault, result.attempts) == (Fault.UNAVAILABLE, 4)


def test_each_change_is_tried_once() -> None:
    loop, short = completion("1.0." * 400, "length"), LINE
    result, contents, max_tokens = scripted_parts(
        CUT, loop, CUT, named("late"), text=short, requests={"attempts": 9}
    )
    assert (result.fault, result.truncated, result.looped) == (Fault.TRUNCATED, 2, 1)
    assert (len(contents), max_tokens) == (3, [200, 400, 400])
