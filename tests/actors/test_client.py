"""The client: every question ends in a profile or in one fault, after no more attempts than it is worth."""

import json
from typing import Any

import pytest

from actors.retrying_client import Answer
from extraction.errors import Fault, OperatorError
from extraction.prompting.logprobs import leaves
from extraction.schema.company import ShortProfile
from tests.actors.asking import TEXT, address, ask, ask_one, question, settings
from tests.actors.processes import eventually
from tests.actors.scripted import PROFILE, PROFILE_TEXT, Reply, ScriptedServer, completion
from tests.fakes.process import FakeServer


def scripted(
    *replies: Reply, max_tokens: int = 200, **sections: dict[str, Any]
) -> tuple[Answer, list[dict[str, Any]]]:
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
