"""The fake server's keys, journal and configuration, and the life of its process."""

import signal
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.options import parse_options
from tests.fakes.process import FakeServer, eventually, gone


def ask(fake: FakeServer, text: str) -> tuple[int, Any]:
    """Ask for a name and a year."""
    properties = {"name": {"type": "string"}, "year": {"type": ["integer", "null"]}}
    schema = {"name": "p", "schema": {"type": "object", "properties": properties}}
    body = {"messages": [{"role": "user", "content": text}]}
    return fake.call(
        "/v1/chat/completions", {**body, "response_format": {"type": "json_schema", "json_schema": schema}}
    )


def test_keys_journal_slots_and_config(tmp_path: Path) -> None:
    config = tmp_path / "server.yaml"
    config.write_text("max-running-requests: 2\nlatency: 0.1\nmodel_path: from-file\nenable-metrics: true\n")
    journal = tmp_path / "journal.jsonl"
    with FakeServer("--config", str(config), api_key="k", journal=journal) as fake:
        assert fake.call("/health")[0] == 200
        assert fake.call("/v1/models", key="wrong") == (401, {"error": "Unauthorized"})
        assert fake.call("/orders", [{"fault": "earthquake"}])[0] == 400
        assert fake.call("/server_info")[1]["model_path"] == "from-file"
        with ThreadPoolExecutor(6) as pool:
            told = list(pool.map(partial(ask, fake), (f"Acme Ltd is number {n}." for n in range(6))))
        contents = {reply["choices"][0]["message"]["content"] for _, reply in told}
        assert contents == {f'{{"name": "Acme Ltd", "year": {n}}}' for n in range(6)}
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
        assert ask(fake, "Acme")[0] == 200
        with pytest.raises(OSError, match=r"closed|reset"):
            ask(fake, f"Acme {marker}")
        assert fake.wait_exit() == code
        assert [row["event"] for row in fake.journal()] == ["request", "answer", "request"]


def test_only_loopback_is_served(capsys: pytest.CaptureFixture[str]) -> None:
    assert parse_options(["--host", "::1", "--unknown", "3", "--crash-after", "2"]).crash_after == 2
    with pytest.raises(SystemExit):
        parse_options(["--host", "0.0.0.0"])
    assert "loopback only" in capsys.readouterr().err


def test_a_restart_keeps_port_and_journal_and_no_child_is_left() -> None:
    with FakeServer("--child") as fake:
        for end, code in ((fake.stop, 0), (fake.kill, -signal.SIGKILL)):
            if fake.returncode is not None:
                fake.start()
            child = int(fake.call("/server_info")[1]["child_pid"])
            assert child != fake.pid
            assert not gone(child)
            ask(fake, "Acme")
            end()
            assert fake.returncode == code
            assert eventually(partial(gone, child))
        assert [row["id"] for row in fake.journal()] == [1, 1, 1, 1]
        assert len({row["pid"] for row in fake.journal()}) == 2
