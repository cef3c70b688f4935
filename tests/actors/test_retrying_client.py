"""The client: every question ends in a profile or in one fault, after no more attempts than it is worth."""

import asyncio
import json
import math
import time
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.concurrency_limit import Slots
from actors.retrying_client import Client, Result
from extraction.errors import Fault, OperatorError
from extraction.prompting.logprobs import leaves
from extraction.schema.company import ShortProfile
from tests.actors.asking import SCHEMA, TEXT, address, ask, ask_one, question, settings
from tests.actors.processes import eventually
from tests.actors.scripted import PROFILE, PROFILE_TEXT, Reply, ScriptedServer, completion
from tests.fakes.process import FakeServer


def scripted(
    *replies: Reply, max_tokens: int = 200, **sections: dict[str, Any]
) -> tuple[Result, list[dict[str, Any]]]:
    """The answer that a script leads to, and the bodies of the requests."""
    with ScriptedServer(*replies) as server:
        asked = question(max_tokens=max_tokens)
        (answer,) = ask(server.address, asked, asked=settings(**sections))
    return answer, [request.body for request in server.asked]


def test_a_good_answer_is_a_profile(fake: FakeServer) -> None:
    answer = ask_one(address(fake), TEXT)
    profile = ShortProfile.model_validate_json(answer.replies[0])
    assert (profile.name, profile.founded_year) == ("Acme Widgets Ltd", 1987)
    assert (answer.chunk_id, answer.fault, answer.message) == ("c1", None, "")
    assert (answer.attempts, answer.in_flight) == (1, 1)
    assert answer.prompt_tokens > 10 < answer.completion_tokens
    assert answer.latency_s > 0


def test_the_document_is_the_last_message_of_the_prompt() -> None:
    _, (body,) = scripted()
    assert [turn["role"] for turn in body["messages"]] == ["system", "user"]
    assert body["messages"][-1]["content"] == TEXT


@pytest.mark.parametrize("name", ["429", "500", "503", "reset", "malformed", "wrong_length", "abort"])
def test_a_server_in_trouble_is_asked_again(fake: FakeServer, name: str) -> None:
    answer = ask_one(address(fake), f"{TEXT} [[fault:{name}*2]]")
    assert (answer.fault, answer.message, answer.attempts) == (None, "", 3)
    assert answer.replies


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("503", Fault.UNAVAILABLE),
        ("reset", Fault.UNAVAILABLE),
        ("wrong_length", Fault.UNAVAILABLE),
        ("abort", Fault.ABORTED),
    ],
)
def test_attempts_end(fake: FakeServer, name: str, fault: Fault) -> None:
    answer = ask_one(address(fake), f"{TEXT} [[fault:{name}]]")
    assert (answer.fault, answer.replies, answer.attempts) == (fault, (), 3)
    assert answer.message


@pytest.mark.parametrize("name", ["hang", "slow_loris=0.02"])
def test_a_deadline_ends_an_attempt(fake: FakeServer, name: str) -> None:
    quick = settings(requests={"deadline_s": 0.3, "attempts": 2})
    answer = ask_one(address(fake), f"{TEXT} [[fault:{name}]]", quick)
    assert (answer.fault, answer.attempts) == (Fault.DEADLINE, 2)
    assert answer.latency_s >= 0.6
    assert eventually(lambda: fake.stats()["in_flight"] == 0)


def test_retry_after_is_honoured() -> None:
    patient = settings(requests={"backoff_s": 0.001, "backoff_max_s": 5})
    with ScriptedServer(Reply(status=429, headers={"Retry-After": "0.4"}), completion()) as server:
        assert ask(server.address, question(), asked=patient)[0].latency_s >= 0.4


def test_retry_after_is_capped(fake: FakeServer) -> None:
    answer = ask_one(address(fake), f"{TEXT} [[fault:503=3600*1]]")
    assert (answer.fault, answer.attempts) == (None, 2)


def test_a_request_that_is_too_long_is_asked_once(fake: FakeServer) -> None:
    answer = ask_one(address(fake), f"{TEXT} [[fault:400]]")
    assert (answer.fault, answer.attempts) == (Fault.TOO_LONG, 1)


def test_a_refused_request_is_asked_once() -> None:
    answer, bodies = scripted(Reply(b'{"message": "no such grammar"}', 400))
    assert (answer.fault, answer.attempts, len(bodies)) == (Fault.REJECTED, 1, 1)


def test_a_filtered_answer_is_asked_once() -> None:
    answer, bodies = scripted(completion(None, "content_filter"))
    assert (answer.fault, len(bodies)) == (Fault.REJECTED, 1)


@pytest.mark.parametrize("name", ["401", "404"])
def test_a_mistake_of_the_operator_is_raised(fake: FakeServer, name: str) -> None:
    with pytest.raises(OperatorError):
        ask_one(address(fake), f"{TEXT} [[fault:{name}]]")


def test_a_cut_answer_gets_more_room_once() -> None:
    cut = completion('{"name": "Acme Wid', "length")
    answer, bodies = scripted(cut, max_tokens=200)
    assert (answer.fault, answer.attempts, answer.truncated) == (Fault.TRUNCATED, 2, 2)
    first, second = bodies
    assert (first.pop("max_tokens"), second.pop("max_tokens")) == (200, 400)
    assert first == second
    answer, bodies = scripted(cut, completion())
    assert (answer.fault, len(bodies), answer.truncated) == (None, 2, 1)


def test_more_room_ends_with_the_context() -> None:
    cut = completion('{"name": "Acme Wid', "length")
    _, bodies = scripted(cut, max_tokens=600)
    assert [body["max_tokens"] for body in bodies] == [600, 899]  # a context of 1,000, a prompt of 100
    answer, bodies = scripted(cut, max_tokens=899)
    assert (answer.fault, [body["max_tokens"] for body in bodies]) == (Fault.TRUNCATED, [899])


@pytest.mark.parametrize(
    ("spoiled", "fault"),
    [
        (completion("Sure! Here is the profile."), Fault.INVALID),
        (completion(json.dumps({"unexpected": True})), Fault.INVALID),
        (completion(None), Fault.INVALID),
        (completion(["a list"]), Fault.INVALID),
        (completion("[" * 100_000), Fault.INVALID),
        (completion(json.dumps({**PROFILE, "name": "\ud800"})), Fault.INVALID),
        (completion(json.dumps({**PROFILE, "more": 1})), Fault.INVALID),
        (Reply(b"{}"), Fault.INVALID),
        (Reply(b'{"choices": []}'), Fault.INVALID),
        (Reply(b'{"choices": [{"message": "x", "finish_reason": "stop"}]}'), Fault.INVALID),
        (completion("1.0." * 400, "length"), Fault.REPETITION),
        (completion(" " * 2000, "length"), Fault.REPETITION),
    ],
)
def test_a_spoiled_answer_is_asked_for_once_more_in_another_way(spoiled: Reply, fault: Fault) -> None:
    drawn = {"retry_temperature": 0.7, "retry_frequency_penalty": 0.9, "seed": 11}
    answer, (first, second) = scripted(spoiled, sampling=drawn)
    assert (answer.fault, answer.replies, answer.attempts) == (fault, (), 2)
    changed = {name: (first[name], second[name]) for name in first if first[name] != second[name]}
    assert changed == {"temperature": (0.0, 0.7), "frequency_penalty": (0.0, 0.9), "seed": (11, 12)}


@pytest.mark.parametrize(("name", "fault"), [("wrong_schema", Fault.INVALID), ("loop", Fault.REPETITION)])
def test_the_fakes_spoiled_answers_are_known(fake: FakeServer, name: str, fault: Fault) -> None:
    assert ask_one(address(fake), f"{TEXT} [[fault:{name}]]").fault is fault
    assert ask_one(address(fake), f"{TEXT} [[fault:{name}*1]]").fault is None


def test_no_message_tells_what_a_document_says(fake: FakeServer) -> None:
    for name in ("invalid", "wrong_schema", "truncated", "loop", "503", "400"):
        assert "Acme" not in ask_one(address(fake), f"{TEXT} [[fault:{name}]]").message


def test_a_huge_reply_is_a_fault(fake: FakeServer) -> None:
    answer = ask_one(address(fake), f"{TEXT} [[fault:huge=200]]")
    assert (answer.fault, answer.attempts) == (Fault.INVALID, 2)


def test_tokens_are_summed_over_attempts() -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 4}}
    bad = completion("no", usage=usage)
    answer, _ = scripted(bad, Reply(status=503), completion(usage=usage))
    assert (answer.prompt_tokens, answer.completion_tokens, answer.cached_tokens) == (20, 6, 8)


@pytest.mark.parametrize(
    "usage", [None, [], "x", {"prompt_tokens": "9"}, {"prompt_tokens": -1}, {"prompt_tokens": 10**30}]
)
def test_nonsense_about_tokens_counts_nothing(usage: Any) -> None:
    answer, _ = scripted(completion(usage=usage))
    assert (answer.fault, answer.prompt_tokens) == (None, 0)


def test_an_answer_comes_with_the_log_probabilities_of_its_values(fake: FakeServer) -> None:
    (answer,) = ask(address(fake), question(), logprobs=True)
    (scores,) = answer.scores
    assert len(scores) == leaves(json.loads(answer.replies[0]))
    assert all(score <= 0 for score in scores) and scores[-1] < scores[0]
    assert ask_one(address(fake), TEXT).scores == ((),)


def test_an_answer_is_kept_as_the_model_wrote_it() -> None:
    answer, _ = scripted(completion(f" {PROFILE_TEXT}\n"))
    assert answer.replies == (f" {PROFILE_TEXT}\n",)


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

    async def ask_all() -> list[Result]:
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


LINE = "Acme Widgets Ltd was founded in Graz in 1987 and sells {} bolts. "
LONG = "# Acme\n\n" + "\n\n".join(LINE.format(n) * 4 for n in range(8))
CUT = completion('{"name": "Acme Wid', "length", usage={"completion_tokens": 7})
REFUSED = Reply(json.dumps({"message": "the prompt is longer than the context length"}).encode(), 400)


def named(name: str) -> Reply:
    return completion(json.dumps({**PROFILE, "name": name}))


def scripted_parts(
    *replies: Reply, text: str = LONG, **sections: dict[str, Any]
) -> tuple[Result, list[str], list[int]]:
    """The answer that a script leads to, and the contents and limits of its requests."""
    with ScriptedServer(*replies) as server:
        (answer,) = ask(server.address, question(text), asked=settings(**sections))
    bodies = [request.body for request in server.asked]
    return answer, [body["messages"][-1]["content"] for body in bodies], [body["max_tokens"] for body in bodies]


def names(answer: Result) -> list[str]:
    return [json.loads(reply)["name"] for reply in answer.replies]


def test_a_chunk_whose_answer_is_cut_twice_is_asked_in_halves() -> None:
    answer, asked, room = scripted_parts(CUT, CUT, named("one"), named("two"))
    assert (answer.fault, answer.message, names(answer)) == (None, "", ["one", "two"])
    assert (answer.attempts, answer.truncated, answer.completion_tokens) == (4, 2, 14)
    whole, again, first, second = asked
    assert whole == again == LONG == first + second.removeprefix("# Acme\n\n")
    assert first.startswith("# Acme\n\n") and second.startswith("# Acme\n\n")
    assert room == [200, 400, 200, 200]


def test_a_half_gets_more_room_and_is_asked_in_halves_too() -> None:
    answer, asked, room = scripted_parts(CUT, CUT, CUT, CUT, named("a"), CUT, named("b"), named("c"))
    assert names(answer) == ["a", "b", "c"]
    assert (answer.attempts, answer.truncated) == (8, 5)
    assert room == [200, 400, 200, 400, 200, 200, 400, 200]
    assert sorted(map(len, asked), reverse=True)[:2] == [len(LONG)] * 2


def test_there_is_nothing_smaller_than_a_quarter() -> None:
    answer, asked, _ = scripted_parts(CUT)
    assert (answer.fault, answer.replies) == (Fault.TRUNCATED, ())
    assert answer.attempts == len(asked) == answer.truncated == 6  # twice each: whole, first half, first quarter


def test_all_parts_must_be_answered() -> None:
    answer, asked, _ = scripted_parts(CUT, CUT, named("one"), completion("no JSON"))
    assert (answer.fault, answer.replies) == (Fault.INVALID, ())
    assert len(asked) == 5


def test_what_is_too_long_is_asked_in_halves_at_once() -> None:
    answer, asked, _ = scripted_parts(REFUSED, named("one"), REFUSED, named("two"), named("three"))
    assert (answer.fault, names(answer), answer.attempts) == (None, ["one", "two", "three"], 5)
    assert answer.truncated == 0
    assert len(asked[0]) > len(asked[2]) > len(asked[4])


def test_each_part_has_its_attempts(fake: FakeServer) -> None:
    busy = Reply(status=503)
    answer, _, _ = scripted_parts(
        busy, REFUSED, busy, busy, named("one"), busy, named("two"), requests={"attempts": 3}
    )
    assert (answer.fault, answer.attempts) == (None, 7)
    answer, _, _ = scripted_parts(REFUSED, busy, requests={"attempts": 3})
    assert (answer.fault, answer.attempts) == (Fault.UNAVAILABLE, 4)


@pytest.mark.parametrize("name", ["truncated", "400"])
def test_only_the_part_with_the_fault_fails(fake: FakeServer, name: str) -> None:
    before = fake.stats()["requests"]
    answer = ask_one(address(fake), f"{LONG}\n\n[[fault:{name}]]")
    assert answer.fault in (Fault.TRUNCATED, Fault.TOO_LONG)
    assert fake.stats()["requests"] - before == answer.attempts == (8 if name == "truncated" else 5)


def test_loops_are_counted() -> None:
    answer, _, _ = scripted_parts(completion("1.0." * 400, "length"), completion())
    assert (answer.fault, answer.looped, answer.truncated) == (None, 1, 0)
    answer, asked, _ = scripted_parts(completion("1.0." * 400, "length"))
    assert (answer.fault, answer.looped, len(asked)) == (Fault.REPETITION, 2, 2)


def test_each_remedy_is_tried_once() -> None:
    loop, short = completion("1.0." * 400, "length"), LINE
    answer, asked, room = scripted_parts(CUT, loop, CUT, named("late"), text=short, requests={"attempts": 9})
    assert (answer.fault, answer.truncated, answer.looped) == (Fault.TRUNCATED, 2, 1)
    assert (len(asked), room) == (3, [200, 400, 400])
