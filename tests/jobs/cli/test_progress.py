"""Progress is counted right and shown for terminals and logs."""

import io
import json
import re
import time
from dataclasses import asdict, replace
from functools import partial
from types import SimpleNamespace

import pyarrow as pa
import pytest
from rich.console import Console
from rich.text import Text

import jobs.cli.progress
from actors.results import RESULTS, Result
from extraction.errors import Fault
from jobs.cli.number_format import clock
from jobs.cli.progress import Progress
from jobs.stages.run_stats import RunStats
from tests.fakes import process

eventually = partial(process.eventually, timeout_s=30)


def answers(*given: Result) -> pa.Table:
    return pa.Table.from_pylist([asdict(a) for a in given], RESULTS)


GOOD = Result("a", ("{}",), attempts=1, prompt_tokens=100, cached_tokens=60, completion_tokens=20, in_flight=3)
BAD = Result("b", (), Fault.INVALID, "no", 2, 200, 120, 40, in_flight=1)


def test_a_tally_adds_up() -> None:
    stats = RunStats()
    stats.add(answers(GOOD, BAD))
    stats.add(answers(GOOD))
    assert (stats.done, stats.answered, stats.failed) == (3, 2, 1)
    assert stats.tokens.model_dump() == {"prompt": 400, "cached": 240, "completion": 80}
    assert stats.in_flight == pytest.approx(7 / 3)
    assert RunStats().left_s(10) is None


def test_the_time_of_servers_is_from_their_first_request_to_their_last_answer() -> None:
    stats = RunStats()
    seen = [("a", 1000.0, 100.0), ("b", 5000.0, 3600.0), ("a", 2700.0, 2.0), ("a", 950.0, 1.0)]
    for server, ended, latency in seen:
        stats.add(answers(replace(GOOD, server=server, ended_at=ended, latency_s=latency)))
    assert stats.servers == {"a": (900.0, 2700.0), "b": (1400.0, 5000.0)}
    assert stats.server_hours == pytest.approx(1.5)


def test_the_time_of_servers_has_their_start_and_their_end() -> None:
    stats = RunStats()
    table = answers(*(replace(GOOD, server=name, ended_at=2000.0, latency_s=100.0) for name in ("a", "b")))
    stats.add(table)
    stats.started("a", 1000.0)
    assert stats.servers == {"a": (1000.0, 2000.0), "b": (1900.0, 2000.0)}
    now = time.time()
    stats.settle({"a": (1000.0, 4600.0), "silent": (100.0, 400.0), "still there": (now - 60, None)})
    assert stats.servers["a"] == (1000.0, 4600.0)
    assert stats.servers["silent"] == (100.0, 400.0)
    first, last = stats.servers["still there"]
    assert first == now - 60 and last >= now


def test_time_left_follows_the_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.stages.run_stats.time", SimpleNamespace(monotonic=lambda: 10.0))
    stats = RunStats(began=0.0)
    stats.add(answers(GOOD))  # of three in flight: half of them are done too
    assert stats.left_s(21) == pytest.approx(10 / 2.5 * 18.5)
    for _ in range(19):
        stats.add(answers(GOOD))
    assert stats.left_s(21) == pytest.approx(10 / 20.5 * 0.5)
    assert stats.left_s(20) == 0


def test_a_log_gets_a_line_and_a_terminal_a_bar() -> None:
    log, screen = io.StringIO(), io.StringIO()
    with Progress(Console(file=log, width=200), 2) as progress:
        progress.stats.add(answers(GOOD, BAD))
    assert "2 of 2 chunks, 1 answered, 1 failed" in log.getvalue()
    assert "requests in flight" in log.getvalue()
    with Progress(Console(file=screen, force_terminal=True, width=200), 2) as progress:
        progress.stats.add(answers(GOOD))
    assert "1 of 2" in screen.getvalue()


def test_the_last_fault_is_told() -> None:
    stats = RunStats()
    stats.add(answers(GOOD, BAD, replace(BAD, fault=Fault.TRUNCATED, message="cut\noff"), GOOD))
    assert stats.last_fault == "truncated: cut off"
    stats.add(answers(GOOD))
    assert stats.last_fault == "truncated: cut off"


def test_json_is_a_line_an_interval_also_while_nothing_comes() -> None:
    log = io.StringIO()
    terminal = Console(file=log, width=200, force_terminal=True)
    with Progress(
        terminal, 3, run_id="r", from_ledger=7, servers=2, ready=lambda: 1, log_format="json", every_s=0.05
    ) as progress:
        assert eventually(lambda: log.getvalue().count("\n") >= 2)
        progress.stats.add(answers(GOOD, BAD))
    first, *_, last = map(json.loads, log.getvalue().splitlines())
    assert first.keys() == last.keys() == set(re.findall(r"`(\w+)`", str(jobs.cli.progress.__doc__)))
    assert (first["done"], first["left_s"], first["last_fault"]) == (0, None, None)
    assert (first["chunks"], first["from_ledger"]) == (10, 7)
    assert (last["run"], last["event"], last["done"], last["answered"], last["failed"]) == ("r", "extract", 2, 1, 1)
    assert (last["servers_ready"], last["servers_starting"]) == (1, 1)
    assert (last["prompt_tokens"], last["cached_tokens"], last["output_tokens"]) == (300, 180, 60)
    assert last["last_fault"] == "invalid: no"


def test_a_log_says_that_servers_start() -> None:
    log = io.StringIO()
    with Progress(Console(file=log, width=200), 3, servers=3, ready=lambda: 1, every_s=0.05):
        assert eventually(lambda: "\n" in log.getvalue())
    assert log.getvalue().splitlines()[0] == "extract  0 of 3 chunks, 1 of 3 servers ready"


def test_servers_that_cannot_be_counted_stop_nothing() -> None:
    def ready() -> int:
        raise OSError("no storage")

    log = io.StringIO()
    with Progress(Console(file=log, width=200), 3, ready=ready, log_format="json", every_s=0.05) as progress:
        progress.stats.add(answers(replace(GOOD, server="a:1", ended_at=1.0)))
        assert eventually(lambda: "\n" in log.getvalue())
    assert json.loads(log.getvalue().splitlines()[-1])["servers_ready"] == 1


def test_a_terminal_sees_pace_servers_and_faults() -> None:
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=160)
    with Progress(terminal, 4, from_ledger=1_234, servers=2, ready=lambda: 2) as progress:
        assert eventually(lambda: "waiting for the first answer" in screen.getvalue())
        progress.stats.add(answers(GOOD, replace(BAD, message="[bold]no[/bold] \x1b[31mred")))
        assert eventually(lambda: progress.ready == 2)
    said = Text.from_ansi(screen.getvalue()).plain
    for told in ("2 of 4", "1 answered", "1 failed", "1,234 from the ledger", "2 servers ready", "50%", "chunks/s"):
        assert told in said
    assert "invalid: [bold]no[/bold]" in said
    assert "\x1b[31mred" not in screen.getvalue()


def test_on_a_narrow_terminal_no_number_is_cut() -> None:
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=60, soft_wrap=True)
    with Progress(terminal, 4, from_ledger=1_234, servers=2, ready=lambda: 2) as progress:
        progress.stats.add(answers(GOOD))
        assert eventually(lambda: progress.ready == 2)
    said = " ".join(Text.from_ansi(screen.getvalue()).plain.split())
    assert "1 answered · 0 failed · 1,234 from the ledger" in said and "2 servers ready" in said


def test_a_log_says_why_chunks_fail() -> None:
    log = io.StringIO()
    with Progress(Console(file=log, width=200), 3, from_ledger=5) as progress:
        progress.stats.add(answers(GOOD, replace(BAD, message="no answer " * 50)))
    (line,) = log.getvalue().splitlines()
    assert line.startswith("extract  2 of 3 chunks (5 more are in the ledger), 1 answered, 1 failed, ")
    assert "; last fault invalid: no answer no answer" in line and line.endswith(" …")


def test_nothing_is_shown_where_nothing_is_to_do() -> None:
    log = io.StringIO()
    with Progress(Console(file=log, width=200), 0, log_format="json", every_s=0.01):
        pass
    assert log.getvalue() == ""


@pytest.mark.parametrize(("seconds", "told"), [(0, "0 s"), (59.4, "59 s"), (60, "1:00"), (3725, "1:02:05")])
def test_durations_read_well(seconds: float, told: str) -> None:
    assert clock(seconds) == told


@pytest.mark.parametrize("ready", [1, 2])
def test_the_store_is_not_listed_for_the_length_of_a_run(ready: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs.cli.progress, "LOOK_EVERY_S", 600.0)
    looks: list[int] = []

    def count() -> int:
        looks.append(ready)
        return ready

    log = io.StringIO()
    with Progress(Console(file=log, width=200), 9, servers=2, ready=count, log_format="json", every_s=0.02):
        assert eventually(lambda: log.getvalue().count("\n") >= 20)
    assert looks == [ready]
