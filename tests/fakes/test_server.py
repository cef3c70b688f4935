"""The fake server, asked over the wire, and the life of its process."""

from __future__ import annotations

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.fakes.openai_client import FORMAT, TEXT, Profile, Sector, client, content, messages, send
from tests.fakes.options import parse_options
from tests.fakes.process import FakeServer, eventually, gone


def test_values_come_from_the_text(server: FakeServer) -> None:
    first, second = send(server, TEXT), send(server, TEXT)
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
    assert text == content(send(server, TEXT))[0]
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
            list(pool.map(lambda i: send(fake, f"{TEXT} number {i}"), range(6)))
        assert time.monotonic() - start >= 3 * 0.15
        stats = fake.stats()
        assert (stats["requests"], stats["answered"], stats["in_flight"]) == (6, 6, 0)
        assert 2 < stats["max_in_flight"] <= 6 and stats["by_status"] == {"200": 6}
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
        send(fake, TEXT)
        with pytest.raises(openai.APIConnectionError):
            send(fake, f"{TEXT} {marker}")
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


def test_a_server_that_its_first_request_starts_refuses_until_then() -> None:
    with FakeServer("--cold-start", "0.5") as server:
        with pytest.raises(openai.APIStatusError, match="loading"):
            send(server, TEXT)
        eventually(lambda: _sent(server))


def test_a_rate_is_kept_and_the_time_to_wait_is_said() -> None:
    with FakeServer("--requests-per-10-s", "2") as server:
        for _ in range(2):
            send(server, TEXT)
        with pytest.raises(openai.RateLimitError) as refused:
            send(server, TEXT)
        assert 1 <= int(refused.value.response.headers["Retry-After"]) <= 10


def _sent(server: FakeServer) -> bool:
    try:
        send(server, TEXT)
    except openai.APIStatusError:
        return False
    return True


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


def test_a_restart_keeps_port_and_journal_and_no_child_is_left() -> None:
    with FakeServer("--child") as fake:
        for end, code in ((fake.stop, 0), (fake.kill, -signal.SIGKILL)):
            if fake.returncode is not None:
                fake.start()
            child = int(fake.call("/server_info")[1]["child_pid"])
            assert child != fake.pid
            assert not gone(child)
            send(fake, TEXT)
            end()
            assert fake.returncode == code
            assert eventually(partial(gone, child))
        assert [row["id"] for row in fake.journal()] == [1, 1, 1, 1]
        assert len({row["pid"] for row in fake.journal()}) == 2
