"""A run in which too much fails stops; one in which enough succeeds goes on."""

from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.results import RESULTS, Result
from extraction.config.settings import BreakerSettings as Asked
from extraction.errors import Fault, RunError
from jobs.stages.circuit_breaker import CircuitBreaker, GoneServers
from tests.actors.clients import make_settings
from tests.fakes.process import FakeServer
from tests.jobs.helpers import census, job, manifest, row, write


def answers(faults: str) -> pa.Table:
    """A chunk a letter: a dot for one that was answered, else a fault."""
    kinds = {"u": (Fault.UNAVAILABLE, "HTTP 503"), "i": (Fault.INVALID, "no JSON")}
    made = [Result("c") if letter == "." else Result("c", (), *kinds[letter]) for letter in faults]
    return pa.Table.from_pylist([asdict(answer) for answer in made], RESULTS)


@given(st.lists(st.text("..ui", max_size=7), max_size=20))
def test_it_breaks_when_the_last_ones_say_so_and_never_before(batches: list[str]) -> None:
    breaker = CircuitBreaker(Asked(failed_fraction=0.5, chunks=8, alike=1000))
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
    breaker = CircuitBreaker(Asked(alike=5))
    breaker.add(answers("uuuu"))
    with pytest.raises(RunError, match=r"first 5 chunks failed alike, 5 .* with unavailable: HTTP 503.*See wh"):
        breaker.add(answers("u"))


@pytest.mark.parametrize("first", ["uuuui", "uuuu.", ".uuuu"])
def test_the_first_ones_that_do_not_fail_alike_are_not(first: str) -> None:
    CircuitBreaker(Asked(alike=5)).add(answers(first * 10))


def test_a_fraction_of_one_never_stops() -> None:
    CircuitBreaker(Asked(failed_fraction=1)).add(answers("u" * 300))


def test_messages_that_differ_are_of_one_fault() -> None:
    breaker = CircuitBreaker(Asked(alike=5))
    table = answers("uuuuu")
    messages = pa.array([f"request {n}" for n in range(5)])
    with pytest.raises(RunError, match=r"5 of them with unavailable: request 4\. .*See whether the servers"):
        breaker.add(table.set_column(table.schema.get_field_index("message"), "message", messages))


@pytest.mark.parametrize(("gone", "fraction", "fails"), [(5, 0.5, False), (6, 0.5, True), (6, 1.0, False)])
def test_a_run_whose_server_was_gone_is_not_published(gone: int, fraction: float, fails: bool) -> None:
    settings = make_settings(breaker={"failed_fraction": fraction})
    told = pytest.raises(RunError, match=r"6 of 100 chunks failed .*: HTTP 503") if fails else nullcontext()
    with told:
        GoneServers(gone, "HTTP 503").check(100, settings)


def test_a_run_stops_publishes_nothing_and_goes_on_when_the_cause_is_gone(
    tmp_path: Path, cluster: None, capfd: pytest.CaptureFixture[str]
) -> None:
    rows = [row(n) for n in range(80)]
    source, output = write(tmp_path / "in.parquet", rows), tmp_path / "out"
    quick = ("--set", "breaker.chunks=20", "--set", "requests.attempts=1")
    with FakeServer("--crash-after", "41") as server:
        assert job(source, output, server.url, *quick) == 1
    said = capfd.readouterr().err
    assert "of the last 20 chunks failed" in said and "unavailable: " in said
    assert not (output / "manifest.json").exists()
    with FakeServer() as server:
        assert job(source, output, server.url, *quick) == 0
    census(output, {r["document_id"] for r in rows})
    assert manifest(output)["counts"]["chunks_from_ledger"] >= 30


def test_a_small_run_whose_server_goes_away_publishes_nothing_over_what_is_there(
    tmp_path: Path, cluster: None, capfd: pytest.CaptureFixture[str]
) -> None:
    """A document that always fails is a dead letter all the same: the test request is answered."""
    rows = [row(n) for n in range(20)] + [row(20, text="Northwind Works. [[fault:500]]")]
    source, output = write(tmp_path / "in.parquet", rows), tmp_path / "out"
    # One at a time: of requests sent together some would pass while others fail, and their server is not gone.
    one_by_one = ("--set", "endpoint.concurrency=1")
    quick = ("--set", "requests.attempts=2", "--set", "requests.backoff_max_s=0.1", *one_by_one)
    with FakeServer() as server:
        assert job(source, output, server.url, *quick) == 0
        published = manifest(output)
        assert published["counts"]["dead_letters"] == 1
        server.order([{"fault": "503", "count": None, "after": 14}])
        assert job(source, output, server.url, *quick, "--set", "sampling.seed=1") == 1
        said = capfd.readouterr().err
        assert (
            f"chunks failed because their server at {server.url} was gone: the server answered HTTP 503" in said
            and "Nothing is published" in said
        )
        assert manifest(output) == published
        server.order([])
        assert job(source, output, server.url, *quick, "--set", "sampling.seed=1") == 0
    census(output, {r["document_id"] for r in rows})
    assert manifest(output)["counts"]["chunks_from_ledger"] >= 10
