"""The fake server, asked over the wire as the project asks the real one."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

import jsonschema
import openai
import pytest
from openai.types.chat import ChatCompletion
from pydantic import BaseModel, Field

from tests.fakes.answers import Filler
from tests.fakes.faults import FaultBook
from tests.fakes.process import FakeServer
from tests.fakes.server import parse_options

TEXT = "Acme Widgets Ltd was founded by Jane Doe in Graz in 1987 and has 250 people in retail."


class Sector(StrEnum):
    MINING = "mining"
    RETAIL = "retail"


class Person(BaseModel):
    name: str = Field(max_length=40)
    role: str | None


class Profile(BaseModel):
    name: str = Field(max_length=8)
    founded: int | None = Field(ge=1000, le=2100)
    staff: int | None = Field(ge=200, le=300)
    offices: int | None = Field(ge=5000)
    sector: Sector
    listed: bool
    people: list[Person] = Field(min_length=1, max_length=3)
    score: float = Field(gt=0, lt=1)


FORMAT: Any = {"type": "json_schema", "json_schema": {"name": "p", "schema": Profile.model_json_schema()}}
NODE = {"$ref": "#/$defs/n"}


@pytest.fixture(scope="module")
def server() -> Iterator[FakeServer]:
    with FakeServer("--served-model-name", "house", "--tp-size", "1", "--log-level=info") as fake:
        yield fake


def messages(text: str) -> Any:
    return [{"role": "system", "content": "You extract profiles."}, {"role": "user", "content": text}]


def client(server: FakeServer, timeout: float = 5.0) -> openai.OpenAI:
    return openai.OpenAI(base_url=server.url, api_key=server.api_key or "-", max_retries=0, timeout=timeout)


def ask(server: FakeServer, text: str, timeout: float = 5.0) -> ChatCompletion:
    with client(server, timeout) as api:
        return api.chat.completions.create(model="house", messages=messages(text), response_format=FORMAT)


def content(completion: ChatCompletion) -> tuple[str, str]:
    choice = completion.choices[0]
    return choice.message.content or "", str(choice.finish_reason)


def eventually(check: Callable[[], bool], timeout: float = 3.0) -> bool:
    end = time.monotonic() + timeout
    while not check():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def test_values_come_from_the_text(server: FakeServer) -> None:
    first, second = ask(server, TEXT), ask(server, TEXT)
    profile = Profile.model_validate_json(content(first)[0])
    assert content(first) == content(second)
    assert (profile.name, profile.founded, profile.staff, profile.offices) == ("Acme Wid", 1987, 250, None)
    assert profile.sector is Sector.RETAIL
    assert profile.people[0].name == "Jane Doe"
    assert first.usage and second.usage and second.usage.prompt_tokens_details
    assert first.usage.prompt_tokens == 3 + len(TEXT.split())
    assert second.usage.prompt_tokens_details.cached_tokens == 3


def test_streaming_carries_the_same_answer(server: FakeServer) -> None:
    options: Any = {"include_usage": True}
    with client(server) as api:
        chunks = list(
            api.chat.completions.create(
                model="house",
                messages=messages(TEXT),
                response_format=FORMAT,
                stream=True,
                stream_options=options,
            )
        )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == content(ask(server, TEXT))[0]
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].usage and chunks[-1].usage.completion_tokens > 1


def test_the_other_routes(server: FakeServer) -> None:
    assert server.call("/health_generate")[0] == 200
    assert server.call("/v1/models")[1]["data"][0]["id"] == "house"
    info = server.call("/server_info")[1]
    assert info["model_path"] == "fake-model"
    assert info["internal_states"][0]["effective_max_running_requests_per_dp"] == 64
    assert len(server.call("/tokenize", {"content": "a b c"})[1]["tokens"]) == 3
    assert server.call("/nowhere")[0] == 404
    with client(server) as api:
        plain = api.chat.completions.create(model="x", messages=messages(TEXT))
    assert content(plain) == ("ok", "stop")


@pytest.mark.parametrize(
    "schema",
    [
        {"type": ["integer", "null"], "minimum": 99999},
        {"type": "integer", "minimum": 3000, "multipleOf": 1},
        {"type": "array", "items": {"enum": ["a", "b"]}, "uniqueItems": True, "minItems": 1},
        {"type": "array", "items": {"type": "string"}, "minItems": 5, "maxItems": 5},
        {"type": "object", "additionalProperties": {"type": "number"}},
        {"type": "array", "prefixItems": [{"const": 7}, {"type": "boolean"}], "minItems": 2, "maxItems": 2},
        {"$ref": "#/$defs/n", "$defs": {"n": {"properties": {"next": {"anyOf": [NODE, {"type": "null"}]}}}}},
        {"allOf": [{"$ref": "#/$defs/s"}], "$defs": {"s": {"type": "string", "minLength": 200}}},
    ],
)
@pytest.mark.parametrize("text", [TEXT, "", "no capitals 7"])
def test_any_schema_is_met(schema: dict[str, Any], text: str) -> None:
    jsonschema.validate(Filler(schema, text).value(schema), schema)


def test_a_pattern_is_looked_for_in_the_text() -> None:
    schema = {"type": ["string", "null"], "pattern": r"^\d{4}$"}
    assert Filler(schema, TEXT).value(schema) == "1987"
    assert Filler(schema, "none").value(schema) is None


@pytest.mark.parametrize("schema", [None, {"type": "strin"}, {"$ref": "#/$defs/gone"}])
def test_a_bad_schema_is_refused(server: FakeServer, schema: Any) -> None:
    body = {"response_format": {"type": "json_schema", "json_schema": {"name": "p", "schema": schema}}}
    status, answer = server.call("/v1/chat/completions", {"messages": messages(TEXT), **body})
    assert (status, answer["object"], answer["code"]) == (400, "error", 400)


@pytest.mark.parametrize("name", ["400", "401", "404", "429", "500", "503"])
def test_http_errors(server: FakeServer, name: str) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        ask(server, f"{TEXT} [[fault:{name}=7]]")
    assert caught.value.status_code == int(name)
    assert caught.value.response.headers["Retry-After"] == "7"
    body = caught.value.response.json()
    assert body == {"error": "Unauthorized"} if name == "401" else body["code"] == int(name)
    if name == "400":
        assert "longer than the model's context length (32768 tokens)" in body["message"]


@pytest.mark.parametrize(
    ("name", "finish"),
    [
        ("truncated", "length"),
        ("invalid", "stop"),
        ("abort", "abort"),
        ("whitespace", "length"),
        ("loop", "length"),
        ("wrong_schema", "stop"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning:pydantic")
def test_spoiled_content(server: FakeServer, name: str, finish: str) -> None:
    text, reason = content(ask(server, f"{TEXT} [[fault:{name}]]"))
    whole = content(ask(server, TEXT))[0]
    assert reason == finish
    with pytest.raises(ValueError, match="validation error"):
        Profile.model_validate_json(text)
    assert whole.startswith(text) == (name in ("truncated", "abort"))
    assert (text.count("1.0.") > 200) == (name == "loop")
    assert (not text.strip()) == (name == "whitespace")
    assert name != "wrong_schema" or isinstance(json.loads(text), dict)


@pytest.mark.parametrize("name", ["reset", "malformed", "wrong_length"])
def test_broken_connections(server: FakeServer, name: str) -> None:
    before = server.stats()
    with pytest.raises(openai.APIConnectionError) as caught:
        ask(server, f"{TEXT} [[fault:{name}]]")
    assert not isinstance(caught.value, openai.APITimeoutError)
    after = server.stats()
    assert after["answered"] == before["answered"]
    assert after["by_status"]["broken"] == before["by_status"].get("broken", 0) + 1


def test_a_stream_breaks_off_in_the_middle(server: FakeServer) -> None:
    got = []
    with client(server) as api, pytest.raises(Exception, match=r"(?i)reset|peer|closed|incomplete|error"):
        for chunk in api.chat.completions.create(
            model="house", messages=messages(f"{TEXT} [[fault:reset]]"), response_format=FORMAT, stream=True
        ):
            got.append(chunk)
    assert len(got) > 1


def test_hang_ends_with_the_client(server: FakeServer) -> None:
    with pytest.raises(openai.APITimeoutError):
        ask(server, f"{TEXT} [[fault:hang]]", timeout=0.3)
    assert eventually(lambda: server.stats()["in_flight"] == 0)
    assert server.journal()[-1]["event"] == "broken"


def test_slow_loris_sends_byte_by_byte(server: FakeServer) -> None:
    request = {"messages": messages(f"{TEXT} [[fault:slow_loris=0.001]]")}
    start = time.monotonic()
    assert server.call("/v1/chat/completions", request)[1]["choices"][0]["message"]["content"] == "ok"
    assert time.monotonic() - start > 0.2


def test_delay_and_huge(server: FakeServer) -> None:
    start = time.monotonic()
    Profile.model_validate_json(content(ask(server, f"{TEXT} [[fault:delay=0.3]]"))[0])
    assert time.monotonic() - start >= 0.3
    with client(server) as api:
        raw = api.chat.completions.with_raw_response.create(
            model="house", messages=messages(f"{TEXT} [[fault:huge=2]]"), response_format=FORMAT
        )
    assert len(raw.http_response.content) > 2 << 20


def test_a_counted_marker_runs_out(server: FakeServer) -> None:
    text = f"{TEXT} counted [[fault:500*2]] [[fault:503*1]]"
    for status in (500, 500, 503):
        with pytest.raises(openai.APIStatusError) as caught:
            ask(server, text)
        assert caught.value.status_code == status
    assert Profile.model_validate_json(content(ask(server, text))[0]).founded == 1987
    with pytest.raises(openai.InternalServerError):
        ask(server, f"another {text}")


def test_an_unknown_fault_is_refused(server: FakeServer) -> None:
    with pytest.raises(openai.BadRequestError, match="unknown fault"):
        ask(server, "[[fault:earthquake]]")
    assert server.call("/orders", [{"fault": "earthquake"}])[0] == 400
    assert server.call("/orders", [{"fault": "503", "cuont": 2}])[0] == 400


def test_orders_run_one_after_the_other(server: FakeServer) -> None:
    server.order([{"fault": "503", "count": 2, "value": "2"}, {"fault": "429", "after": 1}])
    statuses = []
    for _ in range(5):
        statuses.append(server.call("/v1/chat/completions", {"messages": messages(TEXT)})[0])
    assert statuses == [503, 503, 200, 429, 200]
    server.order([{"fault": "500", "count": None}])
    server.order([])
    assert content(ask(server, TEXT))[1] == "stop"


def test_a_lasting_order_lasts() -> None:
    book = FaultBook()
    book.add([{"fault": "500", "count": None, "after": 1}])
    met = [book.take("") for _ in range(4)]
    assert [fault and fault.name for fault in met] == [None, "500", "500", "500"]


def test_keys_journal_slots_and_config(tmp_path: Path) -> None:
    config = tmp_path / "server.yaml"
    config.write_text("max-running-requests: 2\nlatency: 0.15\nmodel_path: from-file\nenable-metrics: true\n")
    journal = tmp_path / "journal.jsonl"
    with FakeServer("--config", str(config), api_key="k", admin_api_key="a", journal=journal) as fake:
        assert fake.call("/health")[0] == 200
        assert fake.call("/v1/models", key="wrong") == (401, {"error": "Unauthorized"})
        assert fake.call("/orders", [], key="k")[0] == 401
        fake.order([])
        assert fake.call("/server_info")[1]["model_path"] == "from-file"
        start = time.monotonic()
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(lambda i: ask(fake, f"{TEXT} number {i}"), range(6)))
        assert time.monotonic() - start >= 3 * 0.15
        stats = fake.stats()
        assert (stats["requests"], stats["answered"], stats["in_flight"]) == (6, 6, 0)
        assert (stats["max_in_flight"], stats["by_status"]) == (6, {"200": 6})
        fake.kill()
        rows = fake.journal()
    asked = [row["sha"] for row in rows if row["event"] == "request"]
    answered = [row for row in rows if row["event"] == "answer"]
    assert len(asked) == len(set(asked)) == len(answered) == 6
    assert {(row["status"], row["finish_reason"], row["fault"]) for row in answered} == {(200, "stop", None)}


@pytest.mark.parametrize(
    ("flags", "marker", "code"),
    [
        ([], "[[fault:crash]]", -signal.SIGABRT),
        (["--exit-zero-after", "1"], "", 0),
        (["--order", '[{"fault": "kill", "after": 1}]'], "", -signal.SIGKILL),
    ],
)
def test_the_process_ends_to_order(flags: list[str], marker: str, code: int) -> None:
    with FakeServer(*flags) as fake:
        ask(fake, TEXT)
        with pytest.raises(openai.APIConnectionError):
            ask(fake, f"{TEXT} {marker}")
        assert fake.wait_exit() == code
        assert [row["event"] for row in fake.journal()] == ["request", "answer", "request"]


def test_starting_late_never_or_not_at_all() -> None:
    late, never = FakeServer("--start-delay", "0.5", wait=False), FakeServer("--never-ready", wait=False)
    with late, never:
        assert eventually(lambda: listens(never), 10)
        assert never.call("/health")[0] == 503
        assert never.call("/v1/chat/completions", {"messages": messages(TEXT)})[0] == 503
        late.wait_ready(5)
    with FakeServer("--fail-start", "CUDA out of memory", wait=False) as failed:
        assert failed.wait_exit() == 1
        assert failed.log() == "CUDA out of memory\n"


def test_only_loopback_is_served(capsys: pytest.CaptureFixture[str]) -> None:
    assert parse_options(["--host", "::1", "--unknown", "3", "--crash-after", "2"]).crash_after == 2
    with pytest.raises(SystemExit):
        parse_options(["--host", "0.0.0.0"])
    assert "loopback only" in capsys.readouterr().err


def listens(fake: FakeServer) -> bool:
    try:
        return fake.call("/v1/models")[0] == 200
    except OSError:
        return False


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_a_restart_keeps_port_and_journal_and_no_child_is_left() -> None:
    with FakeServer("--child") as fake:
        for end, code in ((fake.stop, 0), (fake.kill, -signal.SIGKILL)):
            if fake.returncode is not None:
                fake.start()
            child = int(fake.call("/server_info")[1]["child_pid"])
            assert child != fake.pid
            assert not gone(child)
            ask(fake, TEXT)
            end()
            assert fake.returncode == code
            assert eventually(partial(gone, child))
        assert [row["id"] for row in fake.journal()] == [1, 1, 1, 1]
        assert len({row["pid"] for row in fake.journal()}) == 2
