"""The ledger: content-addressed, append-only, and suspicious of files that are not its own."""

import uuid
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.client import Answer
from extraction.errors import Fault
from jobs.ledger import Ledger, LedgerWriter
from jobs.storage import Storage


def answer(chunk: str, fault: Fault | None = None, reply: str = "{}") -> Answer:
    return Answer(chunk, () if fault else (reply,), fault, attempts=1)


def ids(array: pa.Array) -> set[str]:
    return set(array.to_pylist())


def ledger_at(path: Path) -> Ledger:
    return Ledger(Storage(str(path)), "f" * 64)


def test_answers_are_found_again(tmp_path: Path) -> None:
    ledger = ledger_at(tmp_path)
    LedgerWriter(ledger, "run", "actor").append(
        [answer("a"), answer("b", Fault.INVALID), answer("c", Fault.DEADLINE)]
    )
    index = ledger.index()
    assert ids(index.answered) == {"a"}
    assert ids(index.settled) == {"a", "b"}
    wanted = pa.array(["a", "c", "z"])
    rows = ledger.read(index.segments_of(wanted), wanted).to_pylist()
    assert {row["chunk_id"]: row["fault"] for row in rows} == {"a": None, "c": "deadline"}


def test_an_answer_beats_a_fault_however_they_came(tmp_path: Path) -> None:
    ledger = ledger_at(tmp_path)
    writer = LedgerWriter(ledger, "run", "actor")
    for given_answer in (answer("a", Fault.INVALID), answer("a", reply="{1}"), answer("a", Fault.DEADLINE)):
        writer.append([given_answer])
    index = ledger.index()
    wanted = pa.array(["a"])
    assert [row["replies"] for row in ledger.read(index.segments_of(wanted), wanted).to_pylist()] == [["{1}"]]
    assert ids(index.answered) == {"a"}


def test_other_fingerprints_are_other_ledgers(tmp_path: Path) -> None:
    LedgerWriter(ledger_at(tmp_path), "run", "actor").append([answer("a")])
    assert len(Ledger(Storage(str(tmp_path)), "0" * 64).index().answered) == 0


def test_torn_and_foreign_files_are_skipped_and_named(tmp_path: Path) -> None:
    ledger = ledger_at(tmp_path)
    LedgerWriter(ledger, "run", "actor").append([answer("a")])
    (segment,) = (tmp_path / ledger.folder).iterdir()
    (tmp_path / ledger.folder / "torn.parquet").write_bytes(segment.read_bytes()[:-9])
    (tmp_path / ledger.folder / "empty.parquet").write_bytes(b"")
    ledger.storage.write_table(f"{ledger.folder}/foreign.parquet", pa.table({"x": [1]}))
    index = ledger.index()
    assert sorted(Path(path).name for path in index.skipped) == ["empty.parquet", "foreign.parquet", "torn.parquet"]
    assert ids(index.answered) == {"a"}


def test_an_actor_finds_what_it_wrote_before_a_restart(tmp_path: Path) -> None:
    ledger = ledger_at(tmp_path)
    LedgerWriter(ledger, "run", "one").append([answer("a")])
    LedgerWriter(ledger, "run", "two").append([answer("b")])
    LedgerWriter(ledger, "old", "one").append([answer("c")])
    assert LedgerWriter(ledger, "run", "one").held() == {"a": answer("a")}


def test_a_segment_of_a_version_that_told_less_is_read(tmp_path: Path) -> None:
    ledger = ledger_at(tmp_path)
    LedgerWriter(ledger, "run", "one").append([answer("a", reply="{1}")])
    (path,) = ledger.index().paths
    ledger.storage.write_table(path, ledger.storage.read_table(path).drop_columns(["server", "ended_at"]))
    (row,) = ledger.read([path], pa.array(["a"])).to_pylist()
    assert (row["replies"], row["server"], row["ended_at"]) == (["{1}"], None, None)


def test_an_answer_comes_back_as_it_was_given(tmp_path: Path) -> None:
    ledger = ledger_at(tmp_path)
    parts = Answer("a", ('{"name": "A"}', "{}"), attempts=4, truncated=2, looped=1)
    poison = Answer("b", fault=Fault.POISON, message="the server died", attempts=4)
    LedgerWriter(ledger, "run", "one").append([parts, poison])
    assert LedgerWriter(ledger, "run", "one").held() == {"a": parts, "b": poison}
    wanted = pa.array(["a", "b"])
    rows = {row["chunk_id"]: row for row in ledger.read(ledger.index().segments_of(wanted), wanted).to_pylist()}
    assert (rows["a"]["replies"], rows["a"]["truncated"], rows["a"]["looped"]) == (['{"name": "A"}', "{}"], 2, 1)
    assert (rows["b"]["replies"], rows["b"]["fault"]) == ([], "poison")


ANSWERS = st.builds(
    Answer,
    chunk_id=st.sampled_from("ab"),
    replies=st.lists(st.sampled_from(["{}", '{"name": "A"}']), max_size=2).map(tuple),
    fault=st.sampled_from([None, Fault.INVALID, Fault.TRUNCATED, Fault.DEADLINE, Fault.ABORTED]),
    message=st.sampled_from(["", "no"]),
    attempts=st.integers(0, 2),
    in_flight=st.integers(0, 1),
    latency_s=st.sampled_from([0.0, 1.5]),
)


@given(st.lists(ANSWERS, min_size=1, max_size=8), st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_the_same_answers_are_read_in_whatever_order_they_were_written(some: list[Answer], drawn: Random) -> None:
    def read(answers: list[Answer], each: int) -> list[dict[str, Any]]:
        ledger = Ledger(Storage(f"memory://{uuid.uuid4().hex}"), "f" * 64)
        for first in range(0, len(answers), each):
            LedgerWriter(ledger, "run", "actor").append(answers[first : first + each])
        wanted = pa.array(["a", "b"])
        rows: list[dict[str, Any]] = ledger.read(ledger.index().segments_of(wanted), wanted).to_pylist()
        return rows

    shuffled = drawn.sample(some, len(some))
    rows = read(some, 2)
    assert rows == read(shuffled, 3)
    for row in rows:
        faults = {each.fault for each in some if each.chunk_id == row["chunk_id"]}
        retryable = [fault is not None and fault.retryable for fault in faults]
        assert (row["fault"] is None) == (None in faults)
        assert row["fault"] not in ("deadline", "aborted") or all(retryable)


FAULTS = st.one_of(st.none(), st.sampled_from(list(Fault)))
WRITES = st.lists(st.lists(st.tuples(st.sampled_from("abcde"), FAULTS), min_size=1, max_size=4), max_size=6)


@given(writes=WRITES)
@settings(max_examples=25, deadline=None, derandomize=True)
def test_it_behaves_as_a_dictionary_in_which_answers_win(writes: list[list[tuple[str, Fault | None]]]) -> None:
    storage = Storage(f"memory://{uuid.uuid4().hex}")
    ledger = Ledger(storage, "f" * 64)
    for write in writes:
        LedgerWriter(ledger, "run", "actor").append([answer(chunk, fault) for chunk, fault in write])
    said = [pair for write in writes for pair in write]
    index = ledger.index()
    assert ids(index.answered) == {chunk for chunk, fault in said if fault is None}
    assert ids(index.settled) == {chunk for chunk, fault in said if fault is None or not fault.retryable}
    wanted = pa.array(list("abcde"))
    read = ledger.read(index.segments_of(wanted), wanted).to_pylist()
    assert sorted(row["chunk_id"] for row in read) == sorted({chunk for chunk, _ in said})
    assert {r["chunk_id"] for r in read if r["fault"] is None} == ids(index.answered)
