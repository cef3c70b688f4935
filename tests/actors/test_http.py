"""What a connection sends, and how it classifies each kind of reply."""

import asyncio
import datetime
import gzip
import ipaddress
import json
import ssl
import tracemalloc
import urllib.parse
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from actors.http import MAX_ERROR_BYTES, MAX_REPLY_BYTES, Completion, Connection, SamplingParams
from actors.http_errors import MAX_WORDS, Refused, Unreachable, classify, is_too_long, redacted_message, retry_after
from actors.servers.supervisor import ServerAddress
from extraction.errors import Fault, OperatorError
from extraction.prompting.logprobs import leaf_scores
from extraction.prompting.prompt import Message
from extraction.prompting.reply_parsing import ReplyFault
from tests.actors.clients import NOWHERE, SCHEMA, TEXT, address_of
from tests.actors.scripted_server import PROFILE, PROFILE_TEXT, Reply, ScriptedServer, completion
from tests.fakes.process import FakeServer

PARAMS = SamplingParams(temperature=0.1, frequency_penalty=0.2, presence_penalty=0.3, max_tokens=77, seed=5)
GZIP = {"Content-Encoding": "gzip"}


def send(address: ServerAddress, text: str = TEXT, deadline_s: float = 5.0) -> Completion:
    messages: list[Message] = [{"role": "system", "content": "Write."}, {"role": "user", "content": text}]

    async def once() -> Completion:
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


def answer(message: Any, **choice: Any) -> Reply:
    """A completion with that message."""
    return Reply(json.dumps({"choices": [{"message": message, "finish_reason": "stop", **choice}]}).encode())


CALL = {"function": {"name": "profile", "arguments": PROFILE_TEXT}}
DRAFT = json.dumps({**PROFILE, "name": "A Draft"})


@pytest.mark.parametrize(
    "reply",
    [
        completion(),
        completion([{"type": "text", "text": PROFILE_TEXT[:20]}, {"type": "text", "text": PROFILE_TEXT[20:]}]),
        completion([PROFILE_TEXT]),
        completion(PROFILE),
        answer({"content": None, "reasoning_content": PROFILE_TEXT}),
        answer({"content": "", "reasoning": PROFILE_TEXT}),
        answer({"content": "I call it.", "tool_calls": [CALL]}, finish_reason="tool_calls"),
        answer({"content": None, "tool_calls": [{"function": {"arguments": PROFILE}}]}),
        answer({"function_call": {"arguments": PROFILE_TEXT}}),
        answer({"content": PROFILE_TEXT, "reasoning_content": "What of {}?", "refusal": None}, error=None),
        Reply(json.dumps({"choices": [{"message": {"content": PROFILE_TEXT}}], "error": None}).encode()),
        Reply(json.dumps({"choices": [{"text": PROFILE_TEXT}]}).encode()),
        answer({"content": "I'll use {tool}", "tool_calls": [CALL]}),
        completion(json.dumps(PROFILE_TEXT)),
        completion([{"type": "reasoning", "text": DRAFT}, {"type": "text", "text": PROFILE_TEXT}]),
        completion([{"type": "thinking", "text": DRAFT}, {"type": "text", "text": {"value": PROFILE_TEXT}}]),
        completion([{"type": "json", "json": PROFILE}]),
        answer({"content": "", "reasoning_content": PROFILE_TEXT}, finish_reason="length"),
    ],
)
def test_the_completion_is_found_wherever_it_stands(reply: Reply) -> None:
    with ScriptedServer(reply) as server:
        assert json.loads(send(server.address).text) == PROFILE


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ({"content": "I can't say.", "reasoning_content": f"Perhaps {DRAFT}"}, "stop"),
        ({"content": PROFILE_TEXT[:60], "reasoning": DRAFT}, "length"),
        ({"content": None, "reasoning_content": f"Perhaps {DRAFT}, or not"}, "length"),
        ({"content": "{", "reasoning_content": DRAFT}, "max_tokens"),
    ],
)
def test_a_draft_in_the_thoughts_is_no_answer(message: Any, reason: str) -> None:
    with ScriptedServer(answer(message, finish_reason=reason)) as server:
        assert send(server.address).text == (message["content"] or "")


def test_half_a_character_is_replaced_in_the_text_and_in_its_tokens() -> None:
    text = '{"name": "A\ud83d\ude00 \ud83d!"}'
    tokens = ['{"name": "', "A\ud83d", "\ude00", " ", "\ud83d", "!", '"}']
    logprobs = {"content": [{"token": token, "logprob": -0.5} for token in tokens]}
    completion = Completion.of({"choices": [{"message": {"content": text}, "logprobs": logprobs}]})
    assert completion and json.loads(completion.text) == {"name": "A😀 \ufffd!"}
    assert leaf_scores(completion.text, completion.logprobs) == [-3.5]
    assert "".join(token for token, _ in completion.logprobs).encode()


@pytest.mark.parametrize(("count", "counted"), [(7, 7), (7.0, 7), ("7", 7), ("nine", 0), (-1, 0), (10**30, 0)])
def test_a_count_may_come_as_any_number_and_nonsense_counts_nothing(count: Any, counted: int) -> None:
    for usage, counts in (({"prompt_tokens": count, "completion_tokens": "?"}, (counted, 0)), ([count], (0, 0))):
        completion = Completion.of({"choices": [{"message": {"content": ""}}], "usage": usage})
        assert completion and (completion.prompt_tokens, completion.completion_tokens) == counts


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("upstream connect error: Acme in Graz", "36 bytes that say: upstream connect error: …)"),
        ('data: {"error": {"message": "no capacity"}}\n\n', '"no capacity"'),
        ('{"message": {"content": "A draft"}}\n{"done": true}\n', "(JSONDecodeError, 51 bytes)"),
        ("x" * 5_000, "(JSONDecodeError, 5,000 bytes)"),
    ],
)
def test_a_body_that_is_no_json_is_told_if_the_server_wrote_it(body: str, said: str) -> None:
    with ScriptedServer(Reply(body.encode())) as server:
        assert said in str(unreachable(server.address, "Acme in Graz makes bolts"))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"error": {"code": 502, "message": "Provider returned error"}}, "Provider returned error"),
        ({"error": {"message": "boom", "metadata": {"raw": "upstream died"}}}, "boom (upstream died)"),
        ({"error": "no capacity"}, "no capacity"),
        ([{"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}], "overloaded"),
        ({"detail": "worker lost", "choices": None}, "worker lost"),
        ({"message": "rate_limit_daily", "choices": []}, "rate_limit_daily"),
        ({"error_code": 336100, "error_msg": "try again"}, "try again"),
        ({"base_resp": {"status_code": 1002, "status_msg": "busy"}}, "busy"),
        ({"Message": "boom"}, "boom"),
        ({"error": True, "reason": "bad luck"}, "bad luck"),
        ({"a\nb\ud83d": 1}, "only a b"),
        ({"choices": [{"message": None, "finish_reason": "a\ud83d\nb"}]}, "ended in a b"),
        ({"id": "1", "choices": None, "usage": {}}, "no choice, only id, choices, usage"),
        ({"choices": [None]}, "no choice"),
        ({"choices": [{"message": None, "finish_reason": "stop"}]}, "ended in stop"),
        ({"choices": [{"message": "x", "finish_reason": "stop"}]}, "ended in stop"),
        ({"choices": [{"index": 0}]}, "ended in None"),
        ({"choices": [{"message": {"content": ""}, "finish_reason": "error"}]}, "ended in error"),
        ({"choices": [{"message": {"content": PROFILE_TEXT}, "finish_reason": "error"}]}, "ended in error"),
        (
            {"choices": [{"message": {"content": "{"}, "error": {"code": 502, "message": "lost"}}]},
            "ended in None: lost",
        ),
        ({}, "no choice"),
        ("queue full", "queue full"),
    ],
)
def test_a_body_that_is_no_completion_is_the_servers_failure_in_its_words(body: Any, said: str) -> None:
    with ScriptedServer(Reply(json.dumps(body).encode())) as server:
        failure = unreachable(server.address)
    assert failure.fault is Fault.UNAVAILABLE and said in str(failure)
    assert "Acme" not in str(failure) and str(failure).isprintable()


def test_an_error_within_a_reply_counts_as_its_status() -> None:
    limited = Reply(b'{"error": {"code": 429, "message": "slow"}}', headers={"Retry-After": "3"})
    with ScriptedServer(limited) as server:
        failure = unreachable(server.address)
    assert (failure.rate_limited, failure.retry_after_s) == (True, 3.0)
    with ScriptedServer(Reply(b'{"error": {"message": "slow", "code": "rate_limit_exceeded"}}')) as server:
        assert unreachable(server.address).rate_limited
    too_long = {"error": {"code": 400, "message": "This endpoint's maximum context length is 8 tokens."}}
    assert refused(Reply(json.dumps(too_long).encode())).fault is Fault.TOO_LONG


def test_no_proxy_of_the_environment_is_asked(fake: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, NOWHERE)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert send(address_of(fake)).text


def test_a_proxy_of_the_environment_is_asked_for_other_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    address = ServerAddress("http://model.example:8000/v1", "a-key", "house", 1)
    with ScriptedServer() as proxy:
        monkeypatch.setenv("http_proxy", proxy.address.url.removesuffix("/v1"))
        assert json.loads(send(address).text) == PROFILE
        assert proxy.requests[0].path == f"{address.url}/chat/completions"


@pytest.mark.parametrize("proxy", ["http://user:sec/ret@proxy:80", "http://proxy:sec", "sec://proxy"])
def test_a_proxy_that_is_no_url_is_told_without_its_password(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with pytest.raises(OperatorError, match=r"HTTPS_PROXY.* can't be used") as refused:
        send(ServerAddress("https://example.test/v1", "none", "m", 1))
    assert "sec" not in str(refused.value)


def test_certificates_of_the_environment_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, key = self_signed(tmp_path)
    with ScriptedServer() as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server.http.socket = context.wrap_socket(server.http.socket, server_side=True)
        address = replace(server.address, url=server.address.url.replace("http:", "https:"))
        for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
            monkeypatch.delenv(name, raising=False)
        with pytest.raises(OperatorError, match=r"certificate that is not trusted here .*: set SSL_CERT_FILE"):
            send(address)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert json.loads(send(address).text) == PROFILE
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
        for url in (address.url, "https://model.example/v1"):
            with pytest.raises(OperatorError, match=r"SSL_CERT_FILE.* can't be used .*No such file"):
                send(replace(address, url=url))


def self_signed(folder: Path) -> tuple[Path, Path]:
    """The files of a certificate for this machine's loopback address, and of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "house")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(form[0]))
    paths[1].write_bytes(key.private_bytes(*form))
    return paths


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


def raised(reply: Reply) -> str:
    with ScriptedServer(reply) as server, pytest.raises(OperatorError) as caught:
        send(server.address)
    assert "\n" not in str(caught.value) and "a-key" not in str(caught.value)
    return str(caught.value)


def error(message: Any, status: int, **more: Any) -> Reply:
    return Reply(json.dumps({"error": {"message": message, **more}}).encode(), status)


def test_what_no_request_can_help_is_the_operators_mistake() -> None:
    said = raised(error("Incorrect API key provided: a-key.", 401))
    assert "refused the key (HTTP 401): set OPENAI_API_KEY. It says: Incorrect API key provided: …." in said
    assert "top up the account" in raised(error("no credits left", 402))
    quota = error("You exceeded your current quota", 429, code="insufficient_quota")
    assert "It says: You exceeded your current quota" in raised(quota)
    assert "a proxy refused the request" in raised(Reply(b"", 407))


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (error("Flagged: violence", 403), "(HTTP 403): OPENAI_API_KEY may not use this model"),
        (
            Reply(b"<html><head><title>403</title></head><body>Request <b>blocked</b></body>", 403),
            "Request blocked",
        ),
        (error("The model `house` does not exist", 404), "serves no model 'house' (HTTP 404): give --model"),
        (Reply(b"404 page not found", 404), "is its pod running?"),
        (Reply(b"{}", 405), "refused the request (HTTP 405)"),
        (error("blocked", 451), "It says: blocked"),
        (
            Reply(json.dumps({"detail": [{"loc": ["body", "seed"], "msg": "Extra"}]}).encode(), 422),
            "body.seed: Extra",
        ),
    ],
)
def test_a_refusal_is_of_one_request_in_the_servers_words(reply: Reply, said: str) -> None:
    fault = refused(reply)
    assert isinstance(fault, Refused)
    assert fault.fault is Fault.REJECTED and said in str(fault) and "\n" not in str(fault)


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
    with ScriptedServer(Reply(b'[{"id": "a"}, 1]')) as server:
        assert asyncio.run(list_models(server.address)) == [{"id": "a"}]
    with ScriptedServer(Reply(b'{"data": "none"}')) as server:
        assert asyncio.run(list_models(server.address)) == []
    with ScriptedServer(Reply(status=401)) as server, pytest.raises(OperatorError, match="set OPENAI_API_KEY"):
        asyncio.run(list_models(server.address))


TOO_LONG = [
    "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens.",  # vLLM, OpenAI
    "The decoder prompt (length 9000) is longer than the maximum model length of 8192.",  # vLLM
    "You passed 9001 input tokens. However, the model's context length is only 8192 tokens.",
    "'max_tokens' is too large: 4096. This model's maximum context length is 8192 tokens.",
    "The input (40000 tokens) is longer than the model's context length (32768 tokens).",  # SGLang
    "Requested token count exceeds the model's maximum context length of 202752 tokens.",
    "Input length (700001 tokens) exceeds the maximum allowed length (536826 tokens).",
    "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000",  # TGI
    "`inputs` must have less than 1024 tokens. Given: 2000",
    "request (9 tokens) exceeds the available context size (8), try increasing it",  # llama.cpp
    "input is too large to process. increase the physical batch size",
    "Prompt length (9000) exceeds maximum input length (8192).",  # TensorRT-LLM
    "Input tokens exceed the configured limit of 272000 tokens. Please reduce the length of the messages.",  # Azure
    "prompt is too long: 200348 tokens > 200000 maximum",  # Anthropic
    "input length and `max_tokens` exceed context limit: 142123 + 64000 > 200000",
    "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length",
    "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",  # Google
    "The total length of all messages is too long.",  # Perplexity
    "too many tokens: size limit exceeded by 11326 tokens",  # Cohere
    "Input is too long for requested model.",  # Bedrock
    "Please reduce the length of the messages or completion. Current length is 9 while limit is 8",  # Cerebras
    "Your request exceeded model token limit: 262144",  # Moonshot
    "Range of input length should be [1, 129024]",  # DashScope
    "This model's maximum prompt length is 131072 but the request contains 537812 tokens.",  # xAI
    "Payload too large",
    "Request body is too large",
    "context_length_exceeded",
    "exceed_context_size_error",
    "Server error: Not enough memory to handle 9000 prefill tokens.",  # TGI
    "The sum of prompt length (9000.0), query length (0) should not exceed max_num_tokens (8192)",  # TensorRT-LLM
    "default_max_tokens (-5) must be greater than 0, prompt_len 9000",
    "Unable to submit request because the input token count is 40000 but model only supports 32768.",  # Vertex
    "Request payload size exceeds the limit: 20971520 bytes.",
    "length of prompt_tokens (9000) must be less than max_seq_len (8192).",  # SiliconFlow
    "body.messages.1.content: String should have at most 100000 characters",  # pydantic
    "body.prompt: ensure this value has at most 10000 characters",
    "Failed to buffer the request body: length limit exceeded",  # axum
    "Prompt length 9000 is greater than 8192",  # TabbyAPI
    "the request exceeds the session length",  # LMDeploy
    "Request size cannot exceed 4194304 bytes.",  # Databricks
    "the sum of prompt tokens and max_tokens must be less than or equal to 8192",  # Novita
    "Token limit exceeded: 9000 > 8192",
    "Malformed input request: expected maxLength: 2048, actual: 3000",  # Bedrock
]
NOT_TOO_LONG = [
    "Invalid schema: the schema exceeds the maximum nesting depth of 10",
    "response_format.json_schema.name: string too long. Expected a string with maximum length 64",
    "The grammar is too large to compile",
    "Number of enum values exceeds 500",
    "The number of properties exceeds 100",
    "max_tokens is too large: 100000. This model supports at most 16384 completion tokens",
    "temperature exceeds the maximum of 2",
    "Failed to compile json grammar",
    "Invalid schema for response_format 'profile': In context=('properties', 'x'), string length exceeds 15000",
    "response_format.json_schema.name: String should have at most 64 characters",
    "the request took too long",
    "context deadline exceeded",
    "text generation request: context deadline exceeded",
    "input stream read timeout exceeded",
    "Overloaded: input token rate limit exceeded",
    "messages: text exceeds the safety policy",
    "prompt quota exceeded",
    "The request queue is full",
    "Rate limit exceeded",
    "",
]


@pytest.mark.parametrize("said", TOO_LONG)
def test_too_long_is_known_in_every_servers_words(said: str) -> None:
    assert all(is_too_long(status, said) for status in (400, 413, 422, 500))


@pytest.mark.parametrize("said", NOT_TOO_LONG)
def test_what_exceeds_something_else_is_not_too_long(said: str) -> None:
    assert not is_too_long(400, said) and not is_too_long(503, said)


@pytest.mark.parametrize(
    ("reply", "fault"),
    [
        (Reply(json.dumps({"object": "error", "message": TOO_LONG[4]}).encode(), 400), Fault.TOO_LONG),
        (error("no", 400, code="context_length_exceeded"), Fault.TOO_LONG),
        (error("no", 400, type="exceed_context_size_error"), Fault.TOO_LONG),
        (error(TOO_LONG[13], 500), Fault.TOO_LONG),
        (error("Request too large for m on tokens per min (TPM): Limit 3, Requested 4.", 429), Fault.TOO_LONG),
        (Reply(b"<html><head><title>413 Request Entity Too Large</title></head>", 413), Fault.TOO_LONG),
        (Reply(b"", 413), Fault.TOO_LONG),
        (error(NOT_TOO_LONG[0], 400), Fault.REJECTED),
        (error(NOT_TOO_LONG[0], 413), Fault.REJECTED),
        (Reply(b"[]", 400), Fault.REJECTED),
        (Reply(b"[" * 100_000, 422), Fault.REJECTED),
    ],
)
def test_a_refused_request_is_a_fault_of_the_document(reply: Reply, fault: Fault) -> None:
    assert refused(reply).fault is fault


def classified(status: int, body: Any, document: str = TEXT) -> Any:
    address = ServerAddress("http://house.example/v1", "a-key", "house", 1)
    return classify(status, json.dumps(body), {}, address, document)


BLOG = (
    "The inputs: a context window, a context length. A prompt is too long where it exceeds the maximum context "
    "length. Please reduce the length of the input, larger than the input length should be. Insufficient funds."
)


@pytest.mark.parametrize("said", TOO_LONG)
def test_a_document_with_a_servers_words_is_too_long_all_the_same(said: str) -> None:
    assert classified(400, {"error": {"message": said}}, BLOG).fault is Fault.TOO_LONG
    assert classified(500, {"detail": f"{'An error of the deployment. ' * 15}{said}"}, BLOG).fault is Fault.TOO_LONG


def test_what_a_server_repeats_of_a_document_is_not_its_own() -> None:
    assert classified(400, {"error": f"can't read {BLOG}"}, BLOG).fault is Fault.REJECTED
    assert classified(429, {"error": f"slow, not {BLOG}"}, BLOG).rate_limited


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"__type": "ThrottlingException", "message": "no"}),
        (400, {"message": "Rate exceeded"}),
        (400, {"error": {"message": "Model overloaded. Please try again later"}}),
        (403, [{"error": {"code": 403, "message": "Quota exceeded", "status": "RESOURCE_EXHAUSTED"}}]),
        (403, {"error": {"message": "no", "code": "rate_limit_exceeded"}}),
    ],
)
def test_a_refusal_for_now_is_a_rate_limit(status: int, body: Any) -> None:
    failure = classified(status, body, "The park is overloaded. A rate limit for cars is planned.")
    assert isinstance(failure, Unreachable) and failure.rate_limited and f"HTTP {status}" in str(failure)


def test_the_documents_words_are_no_rate_limit() -> None:
    document = "The park is overloaded. A rate limit for cars is planned."
    for said in ("no such value as 'overloaded'", 'not "a rate limit for cars"', f"bad: {document * 2}"):
        assert classified(400, {"error": {"message": said}}, document * 2).fault is Fault.REJECTED


@pytest.mark.parametrize(
    "said",
    [
        f"bad input: {TEXT}",
        f"bad input: {TEXT.upper()}",
        f"bad input: {urllib.parse.quote(TEXT)}",
        f"bad input: {json.dumps(json.dumps(TEXT))}",
        "bad input: " + "".join(f"\\u{ord(c):04x}" for c in TEXT),
        "bad input: " + "".join(f"\\x{byte:02X}" for byte in TEXT.encode()),
        json.dumps({"error": "bad input: " + "".join(f"&#{ord(c)};" for c in TEXT)}),
        f"bad input: {TEXT[5:40]}",
        "no such name as 'Acme'",
        json.dumps({"error": {"message": f"body.messages.1.content: {TEXT!r}"}}),
        json.dumps({"input": TEXT}),
        f"<p>{TEXT}</p>",
    ],
)
def test_no_message_repeats_the_document_or_the_key(said: str) -> None:
    told = redacted_message(f"{said} for Bearer sk-0123456789", "sk-0123456789", TEXT)
    assert "Acme" not in told and "Graz" not in told and "sk-0" not in told


def test_a_message_is_bounded_and_one_line() -> None:
    told = redacted_message("a\x1b[31m\nb\u2028" + "c" * 10_000, "key")
    assert told.isprintable() and len(told) == MAX_WORDS


@pytest.mark.parametrize("status", [408, 409, 424, 429, 500, 502, 503, 504, 529])
def test_a_server_in_trouble_is_worth_another_try(status: int) -> None:
    with ScriptedServer(Reply(b"<html>no</html>", status)) as server:
        failure = unreachable(server.address)
    assert (failure.fault, failure.retry_after_s) == (Fault.UNAVAILABLE, None)
    assert len(server.requests) == 1


NOW = "Wed, 21 Oct 2026 07:28:00 GMT"


@pytest.mark.parametrize(
    ("headers", "text", "seconds"),
    [
        ({"retry-after": "7"}, "", 7.0),
        ({"retry-after": "0.5"}, "", 0.5),
        ({"retry-after": "-3"}, "", 0.0),
        ({"retry-after": "soon"}, "", None),
        ({"retry-after": "nan"}, "", None),
        ({"retry-after": "20s"}, "", 20.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT", "date": NOW}, "", 30.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, "", 0.0),
        ({"retry-after": str(10**9 + 1)}, "", 0.0),  # an epoch, long ago
        ({"retry-after-ms": "1500", "retry-after": "2"}, "", 1.5),
        ({"x-ratelimit-reset": "12"}, "", 12.0),
        ({"x-ratelimit-reset-requests": "1s", "x-ratelimit-reset-tokens": "6m0s"}, "", 360.0),
        (
            {
                "x-ratelimit-reset-requests": "1s", "x-ratelimit-reset-tokens": "6m0s",
                "x-ratelimit-remaining-requests": "0", "x-ratelimit-remaining-tokens": "9",
            },
            "",
            1.0,
        ),
        ({"x-ratelimit-reset-tokens": "120ms"}, "", 0.12),
        ({"anthropic-ratelimit-requests-reset": "2026-10-21T07:29:00Z", "date": NOW}, "", 60.0),
        ({"ratelimit-reset": "9"}, "", 9.0),
        ({"retry-after": "30, 20"}, "", 30.0),
        ({"x-ratelimit-reset-tokens-minute": "11.3"}, "", 11.3),
        (
            {
                "x-ratelimit-reset-requests-day": "900", "x-ratelimit-remaining-requests-day": "5",
                "x-ratelimit-reset-tokens-minute": "8", "x-ratelimit-remaining-tokens-minute": "0",
            },
            "",
            8.0,
        ),
        ({"anthropic-ratelimit-input-tokens-reset": "2026-10-21T07:29:00Z", "date": NOW}, "", 60.0),
        ({"x-ratelimit-reset-input-tokens": "5s"}, "", 5.0),
        ({"ratelimit": "limit=10, remaining=0, reset=30"}, "", 30.0),
        ({"ratelimit": '"day";r=7;t=900, "minute";r=0;t=20'}, "", 20.0),
        ({"ratelimit": "reset=1.2.3"}, "", None),
        ({}, "Please try again in 500 milliseconds", 0.5),
        ({}, "Rate limit reached. Please try again in 6m1.5s.", 361.5),
        ({}, '{"retryDelay": "34s"}', 34.0),
        ({}, "Please retry after 10 seconds", 10.0),
        ({"retry-after": "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"}, "", None),
        ({}, "no", None),
    ],
)  # fmt: skip
def test_the_time_that_a_server_asks_for(headers: dict[str, str], text: str, seconds: float | None) -> None:
    assert retry_after(429, headers, text) == (None if seconds is None else pytest.approx(seconds))


def test_headers_of_every_reply_are_no_wish_to_wait() -> None:
    with ScriptedServer(Reply(status=500, headers={"x-ratelimit-reset-requests": "8ms"})) as server:
        failure = unreachable(server.address)
    assert (failure.retry_after_s, failure.rate_limited, failure.deferred) == (None, False, False)


@pytest.mark.parametrize("name", ["reset", "malformed", "wrong_length"])
def test_a_broken_connection_is_worth_another_try(fake: FakeServer, name: str) -> None:
    assert unreachable(address_of(fake), f"[[fault:{name}]]").fault is Fault.UNAVAILABLE


def test_a_refused_connection_is_worth_another_try() -> None:
    failure = unreachable(ServerAddress(f"{NOWHERE}/v1", "k", "m", 1))
    assert (failure.fault, str(failure)) == (Fault.UNAVAILABLE, "the connection failed (Connection refused)")


@pytest.mark.parametrize("name", ["hang", "slow_loris=0.02"])
def test_the_deadline_holds_for_the_whole_reply(fake: FakeServer, name: str) -> None:
    failure = unreachable(address_of(fake), f"[[fault:{name}]]", deadline_s=0.4)
    assert failure.fault is Fault.DEADLINE and "requests.deadline_s = 0.4 s" in str(failure)


@pytest.mark.parametrize(
    "body", [b"", b"no", b"[]", b'"x"', b"\xff\xfe", b"[" * 200_000, b"9" * 5_000, b"not gzip"]
)
def test_a_body_that_is_no_json_object_is_worth_another_try(body: bytes) -> None:
    with ScriptedServer(Reply(body, headers=GZIP if body == b"not gzip" else {})) as server:
        assert unreachable(server.address).fault is Fault.UNAVAILABLE


def test_a_status_counts_whose_body_is_broken() -> None:
    assert "set OPENAI_API_KEY" in raised(Reply(b"not gzip", 401, GZIP))
    assert refused(Reply(b"not gzip", 413, GZIP)).fault is Fault.TOO_LONG
    assert refused(Reply(b"cut off", 404, {"Content-Length": "99"})).fault is Fault.REJECTED
    with ScriptedServer(Reply(b"cut off", 400, {"Content-Length": "99"})) as server:
        assert unreachable(server.address).broken
    with ScriptedServer(Reply(b"not gzip", 429, GZIP | {"Retry-After": "3"})) as server:
        failure = unreachable(server.address)
    assert (failure.rate_limited, failure.retry_after_s) == (True, 3.0)


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
    assert not is_responsive(ServerAddress(f"{NOWHERE}/v1", "k", "m", 1))


def test_a_small_reply_that_unpacks_to_a_huge_one_is_refused() -> None:
    assert refused(Reply(gzip.compress(bytes(2 * MAX_REPLY_BYTES)), headers=GZIP)).fault is Fault.INVALID


def test_a_reply_as_large_as_allowed_is_read() -> None:
    with ScriptedServer(completion("x" * (MAX_REPLY_BYTES - 1000))) as server:
        assert len(send(server.address).text) == MAX_REPLY_BYTES - 1000
