"""Where a partition stands, by what its record says and what is there."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.backfills.partition_state import STATE_FILE, PartitionRecord, standings, tally
from jobs.backfills.partitions import Partition
from jobs.backfills.runner import Owners
from jobs.state.ledger import digests
from jobs.state.manifest import Counts
from jobs.state.storage import Storage
from tests.jobs.outputs import RUN, publish

COUNTS = Counts(documents=1, chunks=1, chunks_answered=1, chunks_from_ledger=0, companies=1, dead_letters=0)


def partition(**more: Any) -> Partition:
    told = {"values": {"site": "a"}, "day": None, "files": {"file:///a.parquet": "9 1"}, "bytes": 9}
    return Partition(**{**told, **more})


def record(**more: Any) -> PartitionRecord:
    told = {
        "input": partition().digest,
        "files": 1,
        "bytes": 9,
        "recipe": "r",
        "fingerprint": "f",
        "run_id": RUN,
        "exit_code": 0,
        "counts": COUNTS,
        "began_at": "2026-01-01T00:00:00+00:00",
        "ended_at": "2026-01-01T00:00:01+00:00",
    }
    return PartitionRecord.model_validate({**told, **more})


@pytest.mark.parametrize(
    ("more", "name"),
    [
        ({}, "done"),
        ({"exit_code": 3}, "done"),
        ({"recipe": "another"}, "changed"),
        ({"input": "another"}, "changed"),
        ({"run_id": "another"}, "changed"),  # somebody else published there
        ({"counts": None, "exit_code": 1, "error": "no"}, "failed"),
        ({"unanswered": 1}, "incomplete"),
        ({"unanswered": 1, "attempts": 2}, "done"),
        (None, "new"),
    ],
)
def test_what_a_record_comes_to(tmp_path: Path, more: dict[str, Any] | None, name: str) -> None:
    publish(tmp_path / "site=a", {})
    if more is not None:
        record(**more).write(Storage(str(tmp_path / "site=a")))
    (found,) = standings(Storage(str(tmp_path)), [partition()], "r", 2)
    assert (found.name, found.due) == (name, name != "done")
    assert tally([found]) == {name: 1}


@pytest.mark.parametrize("data", [b"", b"{", b'{"input": 1}'])
def test_a_torn_record_is_none(tmp_path: Path, data: bytes) -> None:
    storage = Storage(str(tmp_path))
    storage.write(f"site=a/{STATE_FILE}", data)
    assert [found.name for found in standings(storage, [partition()], "r", 2)] == ["new"]


@pytest.mark.parametrize("data", [None, b"{"])
def test_what_is_not_published_is_not_done(tmp_path: Path, data: bytes | None) -> None:
    storage = Storage(str(tmp_path / "site=a"))
    record().write(storage)
    if data is not None:
        storage.write("manifest.json", data)
    (found,) = standings(Storage(str(tmp_path)), [partition()], "r", 2)
    assert found.name == "changed"


IDS = st.lists(st.lists(st.sampled_from("abcdefghij"), max_size=8, unique=True), min_size=1, max_size=5)


@given(IDS)
def test_the_first_that_asks_owns(partitions: list[list[str]]) -> None:
    owners = Owners([digests(ids) for ids in partitions])
    first: dict[str, int] = {}
    for number, ids in enumerate(partitions):
        for each in ids:
            first.setdefault(each, number)
    asked = sorted(first)
    assert owners.of(pa.chunked_array([pa.array(asked, pa.string())])).tolist() == [first[each] for each in asked]
    assert owners.counts.tolist() == [list(first.values()).count(n) for n in range(len(partitions))]


def test_what_nobody_asked_for_is_nobodys() -> None:
    owners = Owners([digests(["a"])])
    assert owners.of(pa.chunked_array([pa.array(["b", "a"])])).tolist() == [-1, 0]
