"""What a connection sends, and how it classifies each kind of reply."""

import asyncio
import gzip
import json
import tracemalloc
from typing import Any

import pytest

from actors.http import MAX_ERROR_BYTES, MAX_REPLY_BYTES, Connection, SamplingParams, Unreachable
from actors.servers.process import free_port
from actors.servers.supervisor import ServerAddress
from extraction.errors import Fault, OperatorError
from extraction.prompting.prompt import Message
from extraction.prompting.reply_parsing import ReplyFault
from tests.actors.clients import SCHEMA, TEXT, address_of
from tests.actors.scripted_server import PROFILE, Reply, ScriptedServer, completion
from tests.fakes.process import FakeServer

PARAMS = SamplingParams(temperature=0.1, frequency_penalty=0.2, presence_penalty=0.3, max_tokens=77, seed=5)
GZIP = {"Content-Encoding": "gzip"}


def send(address: ServerAddress, text: str = TEXT, deadline_s: float = 5.0) -> dict[str, Any]:
    messages: list[Message] = [{"role": "system", "content": "Write."}, {"role": "user", "content": text}]

    async def once() -> dict[str, Any]:
        connection = Connection(address, SCHEMA, deadline_s)
        try:
            return await connection.send(messages, PARAMS)
        finally:
            await connection.close()

    return asyncio.run(once())


def is_responsive(address: ServerAddress, deadline_s: float = 5.0) -> bool:
    async def once() -> bool:
        connection = Connection(address, SCHEMA, deadline_s)
        try:
            return await connection.is_responsive()
        finally:
            await connection.close()

    return asyncio.run(once())


def unreachable(address: ServerAddress, text: str = TEXT, deadline_s: float = 5.0) -> Unreachable:
    with pytest.raises(Unreachable) as caught:
        send(address, text, deadline_s)
    return caught.value


def refused(reply: Reply) -> ReplyFault:
    with ScriptedServer(reply) as server, pytest.raises(ReplyFault) as caught:
        send(server.address)
    return caught.value


def test_the_request_holds_all_parameters() -> None:
    with ScriptedServer() as server:
        send(server.address)
    (request,) = server.requests
    assert request.path == "/v1/chat/completions"
    assert request.headers["authorization"] == "Bearer a-key"
    json_schema = {"name": "profile", "schema": SCHEMA, "strict": True}
    messages = [{"role": "system", "content": "Write."}, {"role": "user", "content": TEXT}]
    assert request.body == {
        "model": "house",
        "messages": messages,
        "response_format": {"type": "json_schema", "json_schema": json_schema},
        "temperature": 0.1,
        "frequency_penalty": 0.2,
        "presence_penalty": 0.3,
        "max_tokens": 77,
        "seed": 5,
    }


def test_the_reply_is_the_servers_json() -> None:
    with ScriptedServer() as server:
        body = send(server.address)
    assert json.loads(body["choices"][0]["message"]["content"]) == PROFILE


def test_no_proxy_of_the_environment_is_asked(fake: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert send(address_of(fake))["choices"]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_no_redirect_is_followed(status: int) -> None:
    with ScriptedServer() as elsewhere:
        url = f"{elsewhere.address.url}/chat/completions"
        text = rf"sends requests elsewhere \(HTTP {status}\)"
        away = ScriptedServer(Reply(status=status, headers={"Location": url}))
        with away, pytest.raises(OperatorError, match=text) as caught:
            send(away.address)
    assert "\n" not in str(caught.value)
    assert elsewhere.requests == []


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_the_operators_mistake(status: int) -> None:
    text = rf"refused the key \(HTTP {status}\): set OPENAI_API_KEY"
    with ScriptedServer(Reply(status=status)) as server, pytest.raises(OperatorError, match=text) as caught:
        send(server.address)
    assert "a-key" not in str(caught.value)


def test_an_unknown_model_is_the_operators_mistake(fake: FakeServer) -> None:
    text = r"serves no model 'house' \(HTTP 404\): give --model or VLLM_MODEL a name"
    with pytest.raises(OperatorError, match=text):
        send(address_of(fake), "[[fault:404]]")


def test_a_pod_that_is_gone_is_not_an_unknown_model() -> None:
    text = r"nothing serves .* \(HTTP 404\): is its pod running\?.*VLLM_ENDPOINT"
    with ScriptedServer(Reply(b"404 page not found", 404)) as server, pytest.raises(OperatorError, match=text):
        send(server.address)


def test_a_proxys_timeout_is_named() -> None:
    with ScriptedServer(Reply(b"<html>no</html>", 524)) as server:
        assert "HTTP 524, a proxy's" in str(unreachable(server.address))


def test_models_are_listed(fake: FakeServer) -> None:
    async def list_models(address: ServerAddress) -> list[dict[str, Any]]:
        connection = Connection(address, SCHEMA, 5)
        try:
            return await connection.models()
        finally:
            await connection.close()

    (card,) = asyncio.run(list_models(address_of(fake)))
    assert (card["id"], card["max_model_len"]) == ("fake-model", 32768)
    with ScriptedServer(Reply(b'{"data": [1, {"id": "a"}, null]}')) as server:
        assert asyncio.run(list_models(server.address)) == [{"id": "a"}]
    with ScriptedServer(Reply(b'{"data": "none"}')) as server:
        assert asyncio.run(list_models(server.address)) == []
    with ScriptedServer(Reply(status=401)) as server, pytest.raises(OperatorError, match="set OPENAI_API_KEY"):
        asyncio.run(list_models(server.address))


@pytest.mark.parametrize("status", [400, 413, 422])
@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ({"message": "The input (9 tokens) is longer than the model's context length (8 tokens)."}, Fault.TOO_LONG),
        ({"error": {"message": "request (9 tokens) exceeds the available context size (8)"}}, Fault.TOO_LONG),
        ({"error": {"message": "This model's maximum context length is 8 tokens."}}, Fault.TOO_LONG),
        ({"message": "Failed to compile json grammar"}, Fault.REJECTED),
        ([], Fault.REJECTED),
    ],
)
def test_a_refused_request_is_a_fault_of_the_document(status: int, text: Any, fault: Fault) -> None:
    assert refused(Reply(json.dumps(text).encode(), status)).fault is fault


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 529])
def test_a_server_in_trouble_is_worth_another_try(status: int) -> None:
    with ScriptedServer(Reply(b"<html>no</html>", status)) as server:
        failure = unreachable(server.address)
    assert (failure.fault, failure.retry_after_s) == (Fault.UNAVAILABLE, None)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7.0), ("0.5", 0.5), ("-3", 0.0), ("soon", None), ("Wed, 21 Oct 2026 07:28:00 GMT", None), ("nan", 0.0)],
)
def test_retry_after_is_read_as_seconds(header: str, seconds: float | None) -> None:
    with ScriptedServer(Reply(status=503, headers={"Retry-After": header})) as server:
        assert unreachable(server.address).retry_after_s == seconds


@pytest.mark.parametrize("name", ["reset", "malformed", "wrong_length"])
def test_a_broken_connection_is_worth_another_try(fake: FakeServer, name: str) -> None:
    assert unreachable(address_of(fake), f"[[fault:{name}]]").fault is Fault.UNAVAILABLE


def test_a_refused_connection_is_worth_another_try() -> None:
    assert unreachable(ServerAddress(f"http://127.0.0.1:{free_port()}/v1", "k", "m", 1)).fault is Fault.UNAVAILABLE


@pytest.mark.parametrize("name", ["hang", "slow_loris=0.02"])
def test_the_deadline_holds_for_the_whole_reply(fake: FakeServer, name: str) -> None:
    failure = unreachable(address_of(fake), f"[[fault:{name}]]", deadline_s=0.4)
    assert failure.fault is Fault.DEADLINE and "requests.deadline_s = 0.4 s" in str(failure)


@pytest.mark.parametrize("body", [b"", b"no", b"[]", b'"x"', b"\xff\xfe", b"[" * 200_000, b"9" * 5_000])
def test_a_body_that_is_no_json_object_is_worth_another_try(body: bytes) -> None:
    with ScriptedServer(Reply(body)) as server:
        assert unreachable(server.address).fault is Fault.UNAVAILABLE


def test_a_body_in_a_broken_encoding_is_worth_another_try() -> None:
    with ScriptedServer(Reply(b"not gzip", headers=GZIP)) as server:
        assert unreachable(server.address).fault is Fault.UNAVAILABLE


def test_a_huge_reply_is_not_read_to_its_end(fake: FakeServer) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ReplyFault, match="larger than 4,194,304 bytes") as caught:
            send(address_of(fake), "[[fault:huge=2000]]")
        assert tracemalloc.get_traced_memory()[1] < 8 * MAX_REPLY_BYTES
    finally:
        tracemalloc.stop()
    assert caught.value.fault is Fault.INVALID


def test_an_error_page_is_not_read_to_its_end() -> None:
    page = b"no " * (20 << 20)
    tracemalloc.start()
    try:
        with ScriptedServer(Reply(page, 500)) as server:
            assert "HTTP 500" in str(unreachable(server.address))
        assert tracemalloc.get_traced_memory()[1] < 10 * MAX_ERROR_BYTES + (4 << 20)
    finally:
        tracemalloc.stop()


def test_a_reason_is_found_at_the_beginning_of_an_error_page() -> None:
    text = b"the prompt is too long" + b"." * 2 * MAX_ERROR_BYTES
    assert refused(Reply(text, 400)).fault is Fault.TOO_LONG
    assert refused(Reply(text[22:] + text, 400)).fault is Fault.REJECTED


@pytest.mark.parametrize(
    ("reply", "responsive"),
    [(completion(), True), (completion("", "length"), True), (Reply(b"{}", 400), True), (Reply(b"", 503), False)],
)
def test_the_smallest_request_shows_whether_a_server_is_responsive(reply: Reply, responsive: bool) -> None:
    with ScriptedServer(reply) as server:
        assert is_responsive(server.address) is responsive
    (request,) = server.requests
    assert (request.body["max_tokens"], len(request.body["messages"])) == (1, 1)


def test_a_server_that_is_hung_or_gone_is_not_responsive() -> None:
    with FakeServer("--order", '[{"fault": "wedge"}]') as fake:
        assert fake.healthy()
        assert not is_responsive(address_of(fake), deadline_s=0.3)
    assert not is_responsive(ServerAddress(f"http://127.0.0.1:{free_port()}/v1", "k", "m", 1))


def test_a_small_reply_that_unpacks_to_a_huge_one_is_refused() -> None:
    assert refused(Reply(gzip.compress(bytes(2 * MAX_REPLY_BYTES)), headers=GZIP)).fault is Fault.INVALID


def test_a_reply_as_large_as_allowed_is_read() -> None:
    with ScriptedServer(completion("x" * (MAX_REPLY_BYTES - 1000))) as server:
        assert send(server.address)["choices"]
