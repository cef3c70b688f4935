"""The faults of the fake server, each as a client meets it."""

from __future__ import annotations

import json
import time

import openai
import pytest

from tests.fakes.faults import FaultPlan
from tests.fakes.openai_client import FORMAT, TEXT, Profile, client, content, messages, send
from tests.fakes.process import FakeServer, eventually


@pytest.mark.parametrize("name", ["400", "401", "403", "404", "429", "500", "503"])
def test_http_errors(server: FakeServer, name: str) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        send(server, f"{TEXT} [[fault:{name}=7]]")
    assert caught.value.status_code == int(name)
    assert caught.value.response.headers["Retry-After"] == "7"
    body = caught.value.response.json()
    assert body == {"error": "Unauthorized"} if name == "401" else body["code"] == int(name)
    if name == "400":
        assert "longer than the model's context length (32768 tokens)" in body["message"]


def test_an_error_may_come_with_status_200(server: FakeServer) -> None:
    with client(server) as api:
        told = api.chat.completions.with_raw_response.create(
            model="house", messages=messages(f"{TEXT} [[fault:error_body]]"), response_format=FORMAT
        )
    assert told.status_code == 200
    assert told.http_response.json()["object"] == "error"


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
    text, reason = content(send(server, f"{TEXT} [[fault:{name}]]"))
    whole = content(send(server, TEXT))[0]
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
        send(server, f"{TEXT} [[fault:{name}]]")
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
        send(server, f"{TEXT} [[fault:hang]]", timeout=0.3)
    assert eventually(lambda: server.stats()["in_flight"] == 0)
    assert server.journal()[-1]["event"] == "broken"


def test_slow_loris_sends_byte_by_byte(server: FakeServer) -> None:
    request = {"messages": messages(f"{TEXT} [[fault:slow_loris=0.001]]")}
    start = time.monotonic()
    assert server.call("/v1/chat/completions", request)[1]["choices"][0]["message"]["content"] == "ok"
    assert time.monotonic() - start > 0.2


def test_delay_and_huge(server: FakeServer) -> None:
    start = time.monotonic()
    Profile.model_validate_json(content(send(server, f"{TEXT} [[fault:delay=0.3]]"))[0])
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
            send(server, text)
        assert caught.value.status_code == status
    assert Profile.model_validate_json(content(send(server, text))[0]).founded == 1987
    with pytest.raises(openai.InternalServerError):
        send(server, f"another {text}")


def test_an_unknown_fault_is_refused(server: FakeServer) -> None:
    with pytest.raises(openai.BadRequestError, match="unknown fault"):
        send(server, "[[fault:earthquake]]")
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
    assert content(send(server, TEXT))[1] == "stop"


def test_a_lasting_order_lasts() -> None:
    plan = FaultPlan()
    plan.add([{"fault": "500", "count": None, "after": 1}])
    met = [plan.next_fault("") for _ in range(4)]
    assert [fault and fault.name for fault in met] == [None, "500", "500", "500"]


def test_a_wedge_holds_back_all_that_comes_after_it(server: FakeServer) -> None:
    for text in (f"{TEXT} [[fault:wedge]]", TEXT):
        with pytest.raises(openai.APITimeoutError):
            send(server, text, timeout=0.3)
    assert server.healthy()
    server.order([])
    assert content(send(server, TEXT))[1] == "stop"
