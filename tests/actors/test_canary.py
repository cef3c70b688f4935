"""The test request shows how a server wants to be asked, and who is to blame for a failure."""

import asyncio
import json
import threading
import time
from collections.abc import Callable

import pytest

from actors import canary
from actors.http import OMITTABLE, Dialect
from actors.results import Result
from actors.servers.endpoint import EndpointServer
from actors.servers.supervisor import ServerAddress
from extraction.config.settings import Settings
from extraction.errors import Fault, OperatorError
from tests.actors.clients import SCHEMA, TEXT, MemoryStore, make_extractor, make_settings, run_batches, text_batch
from tests.actors.scripted_server import AnsweringServer, RecordedRequest, Reply, ScriptedServer, completion


def refusal(message: str, status: int = 400, **headers: str) -> Reply:
    return Reply(json.dumps({"error": {"message": message}}).encode(), status, headers)


def ask_test_request(address: ServerAddress, settings: Settings | None = None) -> tuple[Dialect, Result]:
    async def once() -> tuple[Dialect, Result]:
        client, result = await canary.canary_client("endpoint", address, settings or make_settings(), SCHEMA)
        await client.close()
        return client.dialect, result

    return asyncio.run(once())


NEWER = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."


def strict(request: RecordedRequest) -> Reply:
    """A server of reasoning models: one thing after the other that it does not take."""
    body = request.body
    if "max_tokens" in body:
        return refusal(NEWER)
    if "temperature" in body:
        return refusal("Unsupported value: 'temperature' does not support 0 with this model.")
    if "frequency_penalty" in body or "presence_penalty" in body:
        return refusal("'frequency_penalty' and 'presence_penalty' are not supported", 422)
    return refusal("You are not allowed to request logprobs") if "logprobs" in body else completion()


def test_a_server_is_asked_as_it_wants_to_be(capfd: pytest.CaptureFixture[str]) -> None:
    with AnsweringServer(strict) as server:
        dialect, result = ask_test_request(server.address)
        assert result.fault is None
        omitted = frozenset({"temperature", "frequency_penalty", "presence_penalty"})
        assert dialect == Dialect(logprobs=False, max_tokens="max_completion_tokens", omitted=omitted)
        assert server.requests[-1].body.keys() == {
            "model", "messages", "response_format", "max_completion_tokens", "seed",
        }  # fmt: skip
    (line,) = capfd.readouterr().err.splitlines()
    assert "max_completion_tokens for max_tokens; no frequency_penalty" in line


def test_a_refusal_passed_on_as_500_is_understood() -> None:
    with ScriptedServer(*[refusal(f"Error code: 400 - {NEWER}", 500)] * 3, completion()) as server:
        dialect, result = ask_test_request(server.address)
    assert (dialect.max_tokens, result.fault) == ("max_completion_tokens", None)


@pytest.mark.parametrize(
    "reply", [refusal("no", 403), refusal("no such model", 404), refusal("no", 400), Reply(b"", 413)]
)
def test_a_refused_test_request_is_the_operators_mistake(reply: Reply) -> None:
    with ScriptedServer(reply) as server, pytest.raises(OperatorError, match=rf"\(HTTP {reply.status}\)"):
        ask_test_request(server.address)
    assert len(server.requests) <= 3


@pytest.mark.parametrize(
    ("said", "omitted"),
    [
        ("Model grok-4.5 does not support parameter presencePenalty.", {"presence_penalty"}),
        ("Unsupported: FREQUENCY_PENALTY", {"frequency_penalty"}),
        ("Penalty is not enabled for this model", {"presence_penalty", "frequency_penalty"}),
        ("Invalid request: random_seed", None),
        ("The prompt is seeded with lies", None),
    ],
)
def test_a_parameter_is_known_in_every_spelling(said: str, omitted: set[str] | None) -> None:
    other = Dialect().adapted(said)
    assert other == (Dialect(omitted=frozenset(omitted)) if omitted else Dialect(logprobs=False))


def test_a_refusal_that_names_nothing_is_of_any_parameter() -> None:
    def reply_to(request: RecordedRequest) -> Reply:
        return refusal("bad request") if "presence_penalty" in request.body else completion()

    with AnsweringServer(reply_to) as server:
        dialect, result = ask_test_request(server.address)
    assert result.fault is None and dialect == Dialect(logprobs=False, omitted=frozenset(OMITTABLE))
    assert dialect.adapted("bad request") is None


def test_a_server_that_starts_is_waited_for_with_a_line(capfd: pytest.CaptureFixture[str]) -> None:
    starting = refusal("Model house is currently loading", 503)
    with ScriptedServer(*[starting] * 20, completion()) as server:
        _, result = ask_test_request(server.address)
    assert result.fault is None and len(server.requests) == 21
    (line,) = capfd.readouterr().err.splitlines()
    assert (
        "HTTP 503: Model house is currently loading; waiting, at most for servers.start_timeout_s = 900 s" in line
    )


def test_a_server_that_does_not_start_is_waited_for_no_longer() -> None:
    with ScriptedServer(refusal("loading", 503)) as server:
        _, result = ask_test_request(server.address, make_settings(servers={"start_timeout_s": 0.5}))
    assert result.fault is Fault.UNAVAILABLE and len(server.requests) > 3


def results(url: str, *texts: str) -> list[Result]:
    endpoint = EndpointServer(make_settings(endpoint={"url": url, "concurrency": 2}))
    store = MemoryStore()
    run_batches(make_extractor(endpoint, store), text_batch(*texts))
    return sorted(store.written, key=lambda result: result.chunk_id)


def is_document(request: RecordedRequest) -> bool:
    return canary.CANARY not in request.body["messages"][-1]["content"]


@pytest.mark.parametrize(
    ("reply", "fault"),
    [
        (refusal("Request blocked", 403), Fault.REJECTED),
        (refusal("no route", 404), Fault.REJECTED),
        (refusal("bad content", 400), Fault.REJECTED),
        (refusal("boom", 500), Fault.UNAVAILABLE),
        (Reply(json.dumps({"error": {"code": 429, "message": "slow down"}}).encode()), Fault.UNAVAILABLE),
    ],
)
def test_a_failure_is_the_requests_where_the_test_request_is_answered(reply: Reply, fault: Fault) -> None:
    with AnsweringServer(lambda request: reply if is_document(request) else completion()) as server:
        (result,) = results(server.address.url, TEXT)
    said = json.loads(reply.body)["error"]["message"]
    assert result.fault is fault and said in result.message and not result.message.endswith("test request")


def test_a_server_that_refuses_all_from_now_on_is_the_operators_mistake() -> None:
    refused = pytest.raises(OperatorError, match=r"refuses a test request too: .*Forbidden")
    with ScriptedServer(completion(), refusal("Forbidden", 403)) as server, refused:
        results(server.address.url, TEXT)


def test_a_server_that_is_gone_is_told_of() -> None:
    with ScriptedServer(completion(), refusal("gone", 500)) as server:
        found = results(server.address.url, f"{TEXT} 1", f"{TEXT} 2", f"{TEXT} 3")
        assert {result.fault for result in found} == {Fault.UNAVAILABLE}
        assert all(result.message.endswith("nor does the server answer a test request") for result in found)
        assert sum(not is_document(request) for request in server.requests) <= 1 + 3 * 3


def test_a_refusal_by_what_stands_before_a_server_that_is_gone_is_no_refusal() -> None:
    with ScriptedServer(completion(), refusal("no route", 404), refusal("gone", 500)) as server:
        (result,) = results(server.address.url, TEXT)
    assert result.fault is Fault.UNAVAILABLE  # the next run asks again
    assert "no route" in result.message


class RateLimited(AnsweringServer):
    """A server that takes a number of requests in a window of time, and says when the next begins, or not."""

    def __init__(self, requests: int, window_s: float, headers: Callable[[float], dict[str, str]]) -> None:
        super().__init__(self.limited)
        self.allowed, self.window_s, self.headers = requests, window_s, headers
        self.window, self.taken, self.lock = 0, 0, threading.Lock()

    def limited(self, _: RecordedRequest) -> Reply:
        with self.lock:
            now = time.monotonic()
            if int(now / self.window_s) != self.window:
                self.window, self.taken = int(now / self.window_s), 0
            self.taken += 1
            if self.taken <= self.allowed:
                return completion()
            return Reply(b"slow down", 429, self.headers(self.window_s - now % self.window_s))


@pytest.mark.parametrize(
    ("attempts", "headers"),
    [
        (1, lambda left: {"Retry-After": f"{left:.3f}"}),
        (1, lambda left: {"x-ratelimit-reset-requests": f"{left * 1000:.0f}ms"}),
        (5, lambda left: {}),
    ],
)
def test_a_rate_limit_costs_no_document(attempts: int, headers: Callable[[float], dict[str, str]]) -> None:
    requests = {"attempts": attempts, "backoff_s": 0.05, "backoff_max_s": 5}
    with RateLimited(10, 0.3, headers) as server:
        settings = make_settings(endpoint={"url": server.address.url, "concurrency": 16}, requests=requests)
        store = MemoryStore()
        extractor = make_extractor(EndpointServer(settings), store, settings)
        run_batches(extractor, text_batch(*(f"{TEXT} {n}" for n in range(30))))
        assert [result.fault for result in store.written] == [None] * 30
