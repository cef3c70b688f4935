"""The ledger: content-addressed, append-only, and suspicious of files that are not its own."""

import uuid
from dataclasses import asdict, replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.results import RESULTS, Result
from extraction.errors import Fault
from jobs.state.ledger import (
    FOLDED_ROWS,
    ChunkState,
    Digests,
    Index,
    Ledger,
    LedgerWriter,
    digests,
    find_ids,
    first_of_each,
    order,
)
from jobs.state.storage import Storage

IDS = st.lists(st.text(st.sampled_from("abé\u2028"), max_size=3), max_size=30)
# Halves that often agree, as those of real digests hardly ever do.
PAIRS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=30)


def pairs(given_pairs: list[tuple[int, int]]) -> Digests:
    return np.array(given_pairs, np.uint64).reshape(-1, 2)


@given(IDS)
def test_equal_ids_have_equal_digests_and_others_have_not(ids: list[str]) -> None:
    made = digests(ids)
    assert made.shape == (len(ids), 2)
    for one, first in zip(ids, made, strict=True):
        for other, second in zip(ids, made, strict=True):
            assert (one == other) == bool((first == second).all())


@given(PAIRS, PAIRS)
def test_every_pair_of_equals_is_found(held: list[tuple[int, int]], wanted: list[tuple[int, int]]) -> None:
    ordered = pairs(held)[order(pairs(held))]
    questions, places = find_ids(ordered, pairs(wanted))
    found = sorted(zip(questions.tolist(), places.tolist(), strict=True))
    assert found == [
        (q, p) for q, w in enumerate(wanted) for p, h in enumerate(map(tuple, ordered.tolist())) if h == w
    ]


@given(PAIRS)
def test_the_first_of_each_is_where_a_dictionary_keeps_it(some: list[tuple[int, int]]) -> None:
    first: dict[tuple[int, int], int] = {}
    for number, each in enumerate(some):
        first.setdefault(each, number)
    assert first_of_each(pairs(some)).tolist() == list(first.values())


def answer(chunk: str, fault: Fault | None = None, reply: str = "{}") -> Result:
    return Result(chunk, () if fault else (reply,), fault, attempts=1)


def known(index: Index, chunks: str = "abcdez") -> dict[str, ChunkState]:
    """What an index says of some chunks, those alone that it knows."""
    states = index.states(digests(chunks)).tolist()
    return {chunk: ChunkState(state) for chunk, state in zip(chunks, states, strict=True) if state}


def read(ledger: Ledger, chunks: str) -> list[dict[str, Any]]:
    """The answers to some chunks."""
    places = ledger.index().places(digests(chunks))
    rows: list[dict[str, Any]] = ledger.read(places, pa.array(list(chunks))).to_pylist()
    return rows


def ledger_at(path: Path) -> Ledger:
    return Ledger(Storage(str(path)), "f" * 64)


def test_an_actor_finds_what_it_wrote_before_a_restart(tmp_path: Path) -> None:
    ledger = ledger_at(tmp_path)
    LedgerWriter(ledger, "run", "one").append([answer("a")])
    LedgerWriter(ledger, "run", "two").append([answer("b")])
    LedgerWriter(ledger, "old", "one").append([answer("c")])
    assert LedgerWriter(ledger, "run", "one").completed() == {"a": replace(answer("a"), replies=())}


def test_a_segment_of_a_version_that_told_less_is_read(tmp_path: Path) -> None:
    ledger = ledger_at(tmp_path)
    LedgerWriter(ledger, "run", "one").append([answer("a", reply="{1}")])
    (path,) = ledger.paths()
    ledger.storage.write_table(path, ledger.storage.read_table(path).drop_columns(["server", "ended_at"]))
    (row,) = read(ledger, "a")
    assert (row["replies"], row["server"], row["ended_at"]) == (["{1}"], None, None)


def test_an_actor_folds_its_own_small_segments(tmp_path: Path) -> None:
    ledger = ledger_at(tmp_path)
    LedgerWriter(ledger, "run", "other").append([answer("a")])
    writer, each = LedgerWriter(ledger, "run", "one"), FOLDED_ROWS // 4
    for first in range(0, FOLDED_ROWS + 2 * each, each):
        writer.append([answer(f"c{n}") for n in range(first, first + each)])
        assert len(ledger.index()) == 1 + first + each
    assert [len(segment.ids) for segment in ledger.index().segments if ".one." in segment.path].count(each) == 2
    assert len(ledger.paths()) == 1 + 1 + 2
    assert len(LedgerWriter(ledger, "run", "one").completed()) == FOLDED_ROWS + 2 * each


def test_what_is_folded_while_it_is_read_is_found_where_it_went(tmp_path: Path) -> None:
    ledger = ledger_at(tmp_path)
    for chunk in "abc":
        LedgerWriter(ledger, "run", "one").append([answer(chunk, reply=f"{{{chunk}}}")])
    before = ledger.index().places(digests("abc"))
    old = ledger.paths()
    ledger.append("folded", pa.concat_tables([ledger.storage.read_table(path) for path in old]))
    ledger.storage.delete(old)
    rows = ledger.read(before, pa.array(["a", "b", "c"])).to_pylist()
    assert [row["replies"] for row in rows] == [["{a}"], ["{b}"], ["{c}"]]


def test_an_answer_comes_back_as_it_was_given(tmp_path: Path) -> None:
    ledger = ledger_at(tmp_path)
    parts = Result("a", ('{"name": "A"}', "{}"), attempts=4, truncated=2, looped=1)
    poison = Result("b", fault=Fault.POISON, message="the server died", attempts=4)
    LedgerWriter(ledger, "run", "one").append([parts, poison])
    assert LedgerWriter(ledger, "run", "one").completed() == {"a": replace(parts, replies=()), "b": poison}
    rows = {row["chunk_id"]: row for row in read(ledger, "ab")}
    assert (rows["a"]["replies"], rows["a"]["truncated"], rows["a"]["looped"]) == (['{"name": "A"}', "{}"], 2, 1)
    assert (rows["b"]["replies"], rows["b"]["fault"]) == ([], "poison")


ANSWERS = st.builds(
    Result,
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
def test_the_same_answers_are_read_in_whatever_order_they_were_written(some: list[Result], drawn: Random) -> None:
    def written(answers: list[Result], each: int) -> list[dict[str, Any]]:
        ledger = Ledger(Storage(f"memory://{uuid.uuid4().hex}"), "f" * 64)
        for first in range(0, len(answers), each):
            LedgerWriter(ledger, "run", "actor").append(answers[first : first + each])
        return read(ledger, "ab")

    shuffled = drawn.sample(some, len(some))
    rows = written(some, 2)
    assert rows == written(shuffled, 3)
    for row in rows:
        faults = {each.fault for each in some if each.chunk_id == row["chunk_id"]}
        retryable = [fault is not None and fault.retryable for fault in faults]
        assert (row["fault"] is None) == (None in faults)
        assert row["fault"] not in ("deadline", "aborted") or all(retryable)


def test_a_segment_that_is_folded_while_it_is_read_is_not_missed() -> None:
    ledger = Ledger(Vanishing(f"memory://{uuid.uuid4().hex}"), "f" * 64)
    ledger.append("one", pa.Table.from_pylist([asdict(answer("a"))], RESULTS))
    index = ledger.index()
    assert (len(index), index.skipped) == (1, ())


class Vanishing(Storage):
    """An object store in which a segment is folded between its listing and its reading."""

    def read_table(self, path: str, columns: list[str] | None = None) -> pa.Table:
        if ".one." in f".{path.rsplit('/', 1)[1]}":
            self.write(path.replace("one", "folded"), self.read(path) or b"")
            self.delete([path])
        return super().read_table(path, columns)
