"""Many small segments become few large ones, and nothing else changes."""

import uuid

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.results import Result
from extraction.errors import Fault
from jobs.state import ledger_compaction
from jobs.state.ledger import Ledger, LedgerWriter, digests
from jobs.state.ledger_compaction import compact, fold_segments
from jobs.state.storage import Storage
from tests.jobs.state.test_ledger import known, read

FAULTS = st.one_of(st.none(), st.sampled_from([Fault.INVALID, Fault.DEADLINE]))
WRITES = st.lists(
    st.lists(st.tuples(st.sampled_from("abcde"), FAULTS, st.integers(0, 2)), min_size=1, max_size=4), max_size=6
)


def ledger() -> Ledger:
    return Ledger(Storage(f"memory://{uuid.uuid4().hex}"), "f" * 64)


def answer(chunk: str, fault: Fault | None, number: int) -> Result:
    return Result(chunk, () if fault else (f"{{{number}}}",), fault, attempts=1, ended_at=float(number))


@given(WRITES, st.data())
@settings(max_examples=50)
def test_folding_any_segments_changes_no_answer(
    writes: list[list[tuple[str, Fault | None, int]]], data: st.DataObject
) -> None:
    held = ledger()
    for write in writes:
        LedgerWriter(held, "run", "one").append([answer(*each) for each in write])
    before = known(held.index()), read(held, "abcde")
    for _ in range(2):
        paths = held.paths()
        group = data.draw(st.lists(st.sampled_from(paths), unique=True) if paths else st.just([]))
        fold_segments(held, group)
        assert (known(held.index()), read(held, "abcde")) == before


@pytest.mark.usefixtures("cluster")
def test_small_segments_are_folded_where_they_are_many(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_compaction, "LARGE_ROWS", 8)
    held = Ledger(Storage(str(tmp_path)), "f" * 64)
    for number in range(10):
        LedgerWriter(held, "run", str(number)).append([answer(f"{number}{each}", None, number) for each in "ab"])
    index = held.index()
    assert compact(held, index, many=11) is index
    after = compact(held, index, many=10)
    assert sorted(len(segment.ids) for segment in after.segments) == [4, 8, 8]
    assert [segment.path for segment in after.segments] == held.paths()
    ids = [f"{number}{each}" for number in range(10) for each in "ab"]
    rows = held.read(after.places(digests(ids)), pa.array(ids)).to_pylist()
    assert {row["chunk_id"]: row["replies"] for row in rows} == {i: [f"{{{i[0]}}}"] for i in ids}
