"""Progress is counted right and shown for terminals and logs."""

import io
import time
from dataclasses import asdict, replace

import pyarrow as pa
import pytest
from rich.console import Console

from actors.client import Answer
from actors.extractor import ANSWERS
from extraction.errors import Fault
from jobs.progress import Progress
from jobs.tally import Tally, clock


def answers(*given: Answer) -> pa.Table:
    return pa.Table.from_pylist([asdict(a) for a in given], ANSWERS)


GOOD = Answer("a", ("{}",), attempts=1, prompt_tokens=100, cached_tokens=60, completion_tokens=20, in_flight=3)
BAD = Answer("b", (), Fault.INVALID, "no", 2, 200, 120, 40, in_flight=1)


def test_a_tally_adds_up() -> None:
    tally = Tally()
    tally.add(answers(GOOD, BAD))
    tally.add(answers(GOOD))
    assert (tally.done, tally.answered, tally.failed) == (3, 2, 1)
    assert tally.tokens.model_dump() == {"prompt": 400, "cached": 240, "completion": 80}
    assert tally.in_flight == pytest.approx(7 / 3)
    assert Tally().left_s(10) is None


def test_the_time_of_servers_is_from_their_first_request_to_their_last_answer() -> None:
    tally = Tally()
    seen = [("a", 1000.0, 100.0), ("b", 5000.0, 3600.0), ("a", 2700.0, 2.0), ("a", 950.0, 1.0)]
    for server, ended, latency in seen:
        tally.add(answers(replace(GOOD, server=server, ended_at=ended, latency_s=latency)))
    assert tally.servers == {"a": (900.0, 2700.0), "b": (1400.0, 5000.0)}
    assert tally.server_hours == pytest.approx(1.5)


def test_time_left_follows_the_pace() -> None:
    tally = Tally(began=time.monotonic() - 10)
    tally.add(answers(GOOD))
    assert tally.left_s(3) == pytest.approx(20, rel=0.1)


def test_a_log_gets_a_line_and_a_terminal_a_bar() -> None:
    log, screen = io.StringIO(), io.StringIO()
    with Progress(Console(file=log, width=200), 2) as progress:
        progress.add(answers(GOOD, BAD))
    assert "2 of 2 chunks, 1 answered, 1 failed" in log.getvalue()
    assert "requests in flight" in log.getvalue()
    with Progress(Console(file=screen, force_terminal=True, width=200), 2) as progress:
        progress.add(answers(GOOD))
    assert "1/2" in screen.getvalue()


@pytest.mark.parametrize(("seconds", "told"), [(0, "0 s"), (59.4, "59 s"), (60, "1:00"), (3725, "1:02:05")])
def test_durations_read_well(seconds: float, told: str) -> None:
    assert clock(seconds) == told
