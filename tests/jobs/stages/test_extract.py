"""A run in which too much fails stops; one in which enough succeeds goes on."""

from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.crash_suspects import CrashRecord
from actors.extractor import RESULTS
from actors.retrying_client import Request, Result
from extraction.config.settings import BreakerSettings as Asked
from extraction.config.settings import Servers
from extraction.errors import Fault, RunError
from jobs.stages.extract import (
    ASKED_AHEAD,
    WAVES,
    CircuitBreaker,
    SuspectFile,
    pool_size,
    read_rows,
    require_server,
)
from jobs.state.storage import Storage
from tests.actors.clients import make_settings
from tests.fakes.process import FakeServer
from tests.jobs.helpers import census, job, manifest, row, write

COUNTS = st.integers(1, 10_000_000)
SERVERS = st.builds(Servers, min_servers=st.integers(1, 50), max_servers=st.one_of(st.none(), st.integers(1, 500)))
LIMITS = st.integers(1, 1024)
PRESENT = st.integers(0, 2000)


@given(missing=COUNTS, limit=LIMITS, servers=SERVERS, present=PRESENT, grows=st.booleans())
def test_a_pool_keeps_to_what_it_was_told(
    missing: int, limit: int, servers: Servers, present: int, grows: bool
) -> None:
    size = pool_size(missing, limit, servers, present, grows=grows)
    assert 1 <= size.wanted <= size.most <= missing
    assert size.most <= (servers.max_servers or missing)
    assert size.wanted >= min(servers.min_servers, size.most)
    assert size.wanted <= max(servers.min_servers, 1, present + ASKED_AHEAD * grows)


@given(missing=COUNTS, limit=LIMITS, servers=SERVERS, present=PRESENT)
def test_a_server_is_kept_busy_and_leaves_the_others_theirs(
    missing: int, limit: int, servers: Servers, present: int
) -> None:
    size = pool_size(missing, limit, servers, present, grows=True)
    share = -(-missing // size.wanted)
    assert size.calls * size.rows >= min(limit, share)
    assert size.tasks >= 2
    assert (size.tasks - 2) * size.rows <= share
    assert size.rows <= 32


@given(missing=COUNTS, more=COUNTS, limit=LIMITS, servers=SERVERS, present=PRESENT)
def test_more_work_never_deserves_fewer_servers(
    missing: int, more: int, limit: int, servers: Servers, present: int
) -> None:
    sizes = [pool_size(count, limit, servers, present, grows=True) for count in (missing, missing + more)]
    assert sizes[0].wanted <= sizes[1].wanted
    assert sizes[0].most <= sizes[1].most


@pytest.mark.parametrize(
    ("missing", "present", "grows", "wanted", "most"),
    [
        (1, 8, True, 1, 1),
        (WAVES * 256, 8, True, 1, 1),
        (WAVES * 256 + 1, 8, True, 2, 2),
        (1_000_000, 8, False, 8, 1954),  # one machine with 8 GPUs: no more can come
        (1_000_000, 0, True, 32, 1954),  # a cluster without a GPU node yet
        (1_000_000, 32, True, 64, 1954),  # it doubles
        (1_000_000, 0, False, 1, 1954),
    ],
)
def test_examples(missing: int, present: int, grows: bool, wanted: int, most: int) -> None:
    size = pool_size(missing, 256, Servers(), present, grows=grows)
    assert (size.wanted, size.most) == (wanted, most)


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
    with pytest.raises(RunError, match="6 of 100 chunks failed") if fails else nullcontext():
        require_server(gone, 100, settings)


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


def test_a_small_run_whose_server_goes_away_publishes_nothing_over_what_is_there(
    tmp_path: Path, cluster: None, capfd: pytest.CaptureFixture[str]
) -> None:
    """A document that always fails is a dead letter all the same: the test request is answered."""
    rows = [row(n) for n in range(20)] + [row(20, text="Northwind Works. [[fault:500]]")]
    source, output = write(tmp_path / "in.parquet", rows), tmp_path / "out"
    quick = ("--set", "requests.attempts=2", "--set", "requests.backoff_max_s=0.1")
    with FakeServer() as server:
        assert job(source, output, server.url, *quick) == 0
        published = manifest(output)
        assert published["counts"]["dead_letters"] == 1
        server.order([{"fault": "503", "count": None, "after": 14}])
        assert job(source, output, server.url, *quick, "--set", "sampling.seed=1") == 1
        said = capfd.readouterr().err
        assert "chunks failed because their server was gone" in said and "Nothing is published" in said
        assert manifest(output) == published
        server.order([])
        assert job(source, output, server.url, *quick, "--set", "sampling.seed=1") == 0
    census(output, {r["document_id"] for r in rows})
    assert manifest(output)["counts"]["chunks_from_ledger"] >= 10


PATH = "work/runs/run/suspects/actor.json"


def test_a_restarted_actor_reads_what_was_written_before(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    first = SuspectFile(storage, PATH, restarted=False)
    assert first.read() is None
    first.write({"a": CrashRecord(1, 0, "alone")})
    assert first.read() is None  # of another actor with the same id, by chance
    assert SuspectFile(storage, PATH, restarted=True).read() == {"a": [1, 0, "alone"]}


def test_without_a_file_or_with_a_foreign_one_nothing_is_known(tmp_path: Path) -> None:
    store = SuspectFile(Storage(str(tmp_path)), PATH, restarted=True)
    assert store.read() == {}
    for foreign in ("{torn", "[]"):
        (tmp_path / PATH).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / PATH).write_text(foreign)
        assert store.read() == {}


def test_the_longest_chunks_are_asked_first(tmp_path: Path) -> None:
    run: Any = SimpleNamespace(storage=Storage(str(tmp_path)))
    lengths = [300, 40, 1200, 700, 90]
    chunks = [asdict(Request(f"c{n}", "text", length, 100)) for n, length in enumerate(lengths)]
    path = run.storage.write_table("chunks.parquet", pa.Table.from_pylist(chunks)).path
    (asked,) = read_rows(pa.table({"path": [path], "rows": [[0, 1, 2, 4]]}), run)
    assert asked["prompt_tokens"].to_pylist() == [1200, 300, 90, 40]
    assert asked["chunk_id"].to_pylist() == ["c2", "c0", "c4", "c1"]
