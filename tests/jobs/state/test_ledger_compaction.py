"""Many small segments become few large ones, and nothing else changes."""

import pyarrow as pa
import pytest

from actors.results import Result
from extraction.errors import Fault
from jobs.state import ledger_compaction
from jobs.state.ledger import Ledger, LedgerWriter, digests
from jobs.state.ledger_compaction import compact
from jobs.state.storage import Storage


def answer(chunk: str, fault: Fault | None, number: int) -> Result:
    return Result(chunk, () if fault else (f"{{{number}}}",), fault, attempts=1, ended_at=float(number))


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
