"""A run in which too much fails stops; one in which enough succeeds goes on."""

from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.extractor import ANSWERS
from actors.retrying_client import Answer
from extraction.config.settings import Breaker as Asked
from extraction.errors import Fault, RunError
from jobs.stages.extract import Breaker
from tests.fakes.process import FakeServer
from tests.jobs.helpers import census, job, manifest, row, write


def answers(faults: str) -> pa.Table:
    """A chunk a letter: a dot for one that was answered, else a fault."""
    kinds = {"u": (Fault.UNAVAILABLE, "HTTP 503"), "i": (Fault.INVALID, "no JSON")}
    made = [Answer("c") if letter == "." else Answer("c", (), *kinds[letter]) for letter in faults]
    return pa.Table.from_pylist([asdict(answer) for answer in made], ANSWERS)


@given(st.lists(st.text("..ui", max_size=7), max_size=20))
def test_it_breaks_when_the_last_ones_say_so_and_never_before(batches: list[str]) -> None:
    breaker = Breaker(Asked(failed_fraction=0.5, chunks=8, alike=1000))
    seen = ""
    for batch in batches:
        ends = range(len(seen) + 1, len(seen) + len(batch) + 1)
        seen += batch
        due = any(end >= 8 and 8 - seen[end - 8 : end].count(".") > 4 for end in ends)
        if due:
            with pytest.raises(RunError, match="of the last 8 chunks failed"):
                breaker.add(answers(batch))
            return
        breaker.add(answers(batch))


def test_the_first_ones_that_fail_alike_are_enough() -> None:
    breaker = Breaker(Asked(alike=5))
    breaker.add(answers("uuuu"))
    with pytest.raises(RunError, match=r"first 5 chunks failed alike, 5 .* with unavailable: HTTP 503.*See wh"):
        breaker.add(answers("u"))


@pytest.mark.parametrize("first", ["uuuui", "uuuu.", ".uuuu"])
def test_the_first_ones_that_do_not_fail_alike_are_not(first: str) -> None:
    Breaker(Asked(alike=5)).add(answers(first * 10))


def test_a_fraction_of_one_never_stops() -> None:
    Breaker(Asked(failed_fraction=1)).add(answers("u" * 300))


def test_a_run_stops_publishes_nothing_and_goes_on_when_the_cause_is_gone(
    tmp_path: Path, cluster: None, capfd: pytest.CaptureFixture[str]
) -> None:
    rows = [row(n) for n in range(120)]
    source, output = write(tmp_path / "in.parquet", rows), tmp_path / "out"
    quick = ("--set", "breaker.chunks=20", "--set", "requests.attempts=1")
    with FakeServer() as server:
        server.order([{"fault": "503", "count": None, "after": 40}])
        assert job(source, output, server.url, *quick) == 1
        said = capfd.readouterr().err
        assert "of the last 20 chunks failed" in said and "unavailable: the server answered HTTP 503" in said
        assert not (output / "manifest.json").exists()
        server.order([])
        assert job(source, output, server.url, *quick) == 0
    census(output, {r["document_id"] for r in rows})
    assert manifest(output)["counts"]["chunks_from_ledger"] >= 30
