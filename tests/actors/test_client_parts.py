"""A chunk that is too much at once is asked in halves, and they in halves; all of them must be answered."""

import json
from typing import Any

import pytest

from actors.retrying_client import Answer
from extraction.errors import Fault
from tests.actors.asking import address, ask, ask_one, question, settings
from tests.actors.scripted import PROFILE, Reply, ScriptedServer, completion
from tests.fakes.process import FakeServer

LINE = "Acme Widgets Ltd was founded in Graz in 1987 and sells {} bolts. "
LONG = "# Acme\n\n" + "\n\n".join(LINE.format(n) * 4 for n in range(8))
CUT = completion('{"name": "Acme Wid', "length", usage={"completion_tokens": 7})
REFUSED = Reply(json.dumps({"message": "the prompt is longer than the context length"}).encode(), 400)


def named(name: str) -> Reply:
    return completion(json.dumps({**PROFILE, "name": name}))


def scripted(*replies: Reply, text: str = LONG, **sections: dict[str, Any]) -> tuple[Answer, list[str], list[int]]:
    """The answer that a script leads to, and the contents and limits of its requests."""
    with ScriptedServer(*replies) as server:
        (answer,) = ask(server.address, question(text), asked=settings(**sections))
    bodies = [request.body for request in server.asked]
    return answer, [body["messages"][-1]["content"] for body in bodies], [body["max_tokens"] for body in bodies]


def names(answer: Answer) -> list[str]:
    return [json.loads(reply)["name"] for reply in answer.replies]


def test_a_chunk_whose_answer_is_cut_twice_is_asked_in_halves() -> None:
    answer, asked, room = scripted(CUT, CUT, named("one"), named("two"))
    assert (answer.fault, answer.message, names(answer)) == (None, "", ["one", "two"])
    assert (answer.attempts, answer.truncated, answer.completion_tokens) == (4, 2, 14)
    whole, again, first, second = asked
    assert whole == again == LONG == first + second.removeprefix("# Acme\n\n")
    assert first.startswith("# Acme\n\n") and second.startswith("# Acme\n\n")
    assert room == [200, 400, 200, 200]


def test_a_half_gets_more_room_and_is_asked_in_halves_too() -> None:
    answer, asked, room = scripted(CUT, CUT, CUT, CUT, named("a"), CUT, named("b"), named("c"))
    assert names(answer) == ["a", "b", "c"]
    assert (answer.attempts, answer.truncated) == (8, 5)
    assert room == [200, 400, 200, 400, 200, 200, 400, 200]
    assert sorted(map(len, asked), reverse=True)[:2] == [len(LONG)] * 2


def test_there_is_nothing_smaller_than_a_quarter() -> None:
    answer, asked, _ = scripted(CUT)
    assert (answer.fault, answer.replies) == (Fault.TRUNCATED, ())
    assert answer.attempts == len(asked) == answer.truncated == 6  # twice each: whole, first half, first quarter


def test_all_parts_must_be_answered() -> None:
    answer, asked, _ = scripted(CUT, CUT, named("one"), completion("no JSON"))
    assert (answer.fault, answer.replies) == (Fault.INVALID, ())
    assert len(asked) == 5


def test_what_is_too_long_is_asked_in_halves_at_once() -> None:
    answer, asked, _ = scripted(REFUSED, named("one"), REFUSED, named("two"), named("three"))
    assert (answer.fault, names(answer), answer.attempts) == (None, ["one", "two", "three"], 5)
    assert answer.truncated == 0
    assert len(asked[0]) > len(asked[2]) > len(asked[4])


def test_each_part_has_its_attempts(fake: FakeServer) -> None:
    busy = Reply(status=503)
    answer, _, _ = scripted(busy, REFUSED, busy, busy, named("one"), busy, named("two"), requests={"attempts": 3})
    assert (answer.fault, answer.attempts) == (None, 7)
    answer, _, _ = scripted(REFUSED, busy, requests={"attempts": 3})
    assert (answer.fault, answer.attempts) == (Fault.UNAVAILABLE, 4)


@pytest.mark.parametrize("name", ["truncated", "400"])
def test_only_the_part_with_the_fault_fails(fake: FakeServer, name: str) -> None:
    before = fake.stats()["requests"]
    answer = ask_one(address(fake), f"{LONG}\n\n[[fault:{name}]]")
    assert answer.fault in (Fault.TRUNCATED, Fault.TOO_LONG)
    assert fake.stats()["requests"] - before == answer.attempts == (8 if name == "truncated" else 5)


def test_loops_are_counted() -> None:
    answer, _, _ = scripted(completion("1.0." * 400, "length"), completion())
    assert (answer.fault, answer.looped, answer.truncated) == (None, 1, 0)
    answer, asked, _ = scripted(completion("1.0." * 400, "length"))
    assert (answer.fault, answer.looped, len(asked)) == (Fault.REPETITION, 2, 2)


def test_each_remedy_is_tried_once() -> None:
    loop, short = completion("1.0." * 400, "length"), LINE
    answer, asked, room = scripted(CUT, loop, CUT, named("late"), text=short, requests={"attempts": 9})
    assert (answer.fault, answer.truncated, answer.looped) == (Fault.TRUNCATED, 2, 1)
    assert (len(asked), room) == (3, [200, 400, 400])
