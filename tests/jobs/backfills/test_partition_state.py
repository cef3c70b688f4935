"""The state of a partition, by its record and what is there."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import create_model

from extraction.config.settings import Settings
from extraction.grounding.text_folding import digits_key, text_key
from extraction.merging import publish_decision
from extraction.schema.merge_rules import Rule, latest, vote
from jobs.backfills import partition_state
from jobs.backfills.batches import Batch
from jobs.backfills.partition_run import PartitionRun
from jobs.backfills.partition_state import STATE_FILE, PartitionRecord, PartitionStatus, read_statuses, recipe_of
from jobs.backfills.partitions import Partition
from jobs.stages.engines import fleet
from jobs.stages.extract import Work
from jobs.stages.run import Run
from jobs.state.ledger import ChunkState, Index, digests
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
    ("counts", "failed"),
    [({}, False), ({"dead_letters": 1}, True), ({"chunks_answered": 0}, True)],  # the last in a window alone
)
def test_what_is_asked_again_on_request(counts: dict[str, int], failed: bool) -> None:
    last = record(counts=COUNTS.model_copy(update=counts))
    assert PartitionStatus(partition(), last, "done").failed is failed
    assert not PartitionStatus(partition(), None, "new").failed


@pytest.mark.parametrize(
    ("more", "state"),
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
def test_what_a_record_comes_to(tmp_path: Path, more: dict[str, Any] | None, state: str) -> None:
    publish(tmp_path / "site=a", {})
    if more is not None:
        Storage(str(tmp_path / "site=a")).write_record(STATE_FILE, record(**more))
    (status,) = read_statuses(Storage(str(tmp_path)), [partition()], "r", 2)
    assert (status.state, status.due) == (state, state != "done")


@pytest.mark.parametrize("data", [b"", b"{", b'{"input": 1}'])
def test_a_torn_record_is_none(tmp_path: Path, data: bytes) -> None:
    storage = Storage(str(tmp_path))
    storage.write(f"site=a/{STATE_FILE}", data)
    assert [status.state for status in read_statuses(storage, [partition()], "r", 2)] == ["new"]


@pytest.mark.parametrize("data", [None, b"{"])
def test_what_is_not_published_is_not_done(tmp_path: Path, data: bytes | None) -> None:
    storage = Storage(str(tmp_path / "site=a"))
    storage.write_record(STATE_FILE, record())
    if data is not None:
        storage.write("manifest.json", data)
    (status,) = read_statuses(Storage(str(tmp_path)), [partition()], "r", 2)
    assert status.state == "changed"


IDS = st.lists(st.lists(st.sampled_from("abcdefghij"), max_size=8, unique=True), min_size=1, max_size=5)


@given(IDS)
def test_all_that_ask_for_a_chunk_are_found_and_the_first_is_charged(partitions: list[list[str]]) -> None:
    unplanned: Any = None
    works = [Work({}, digests(ids), len(ids)) for ids in partitions]
    runs = [PartitionRun(unplanned, unplanned, work=work) for work in works]
    batch = Batch(unplanned, Index([]), ChunkState.FAILED, runs)
    chunks = sorted({each for ids in partitions for each in ids})
    first = [next(n for n, ids in enumerate(partitions) if each in ids) for each in chunks]
    found = list(batch.asking_for(pa.chunked_array([pa.array(["nobody's", *chunks], pa.string())])))
    asking = [(each, len(ids)) for each, ids in zip(batch.partitions, partitions, strict=True) if ids]
    assert [(each, count) for each, count, _ in found] == asking
    charged = {row: batch.partitions.index(each) for each, _, rows in found for row in rows.tolist()}
    assert charged == dict(enumerate(first, 1))
    assert [each.requests for each in batch.partitions] == [first.count(n) for n in range(len(partitions))]


def starts(value: Any, *, length: int = 3) -> str:
    return text_key(value)[:length]


def within(least: int) -> Any:
    return lambda value: len(value) >= least


def recipe_by(rule: Rule, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> tuple[str, str]:
    """The recipe and the fingerprint of a run whose profile has one field, merged by a rule."""
    model = create_model("Model", name=(Annotated[str | None, rule], None))
    monkeypatch.setattr(Settings, "profile_model", lambda _: model)
    told = {"prompt": {"instructions": "Read."}, "model": {"name": "m"}, **settings}
    given = Settings.model_validate(told)
    run = Run("20260101T000000Z-0", given, fleet("endpoint", given), Storage("/nowhere"), Path("/nowhere"))
    return recipe_of(run), run.fingerprint


@pytest.mark.parametrize(
    "rule",
    [
        latest(),
        vote(digits_key),
        vote(verbatim=False),
        vote(identifies=True),
        vote(starts),
        vote(partial(starts, length=2)),
        vote(partial(starts, length=4)),
        vote(check=within(2)),
        vote(check=within(3)),
        vote(check=lambda value: value != "none"),
        vote(check=lambda value: value != "nothing"),
    ],
)
def test_another_merge_rule_is_another_recipe_and_no_other_question(
    rule: Rule, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = [vote(), vote(check=within(4)), vote(partial(starts, length=5)), vote(check=lambda _: True)]
    recipe, fingerprint = recipe_by(rule, monkeypatch)
    assert recipe == recipe_by(rule, monkeypatch)[0]
    for other in others:
        assert recipe_by(other, monkeypatch)[0] != recipe
        assert recipe_by(other, monkeypatch)[1] == fingerprint


def test_a_threshold_trust_and_another_way_of_merging_are_another_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    recipes = [
        recipe_by(vote(), monkeypatch)[0],
        recipe_by(vote(), monkeypatch, confidence={"min_confidence": 0.5})[0],
        recipe_by(vote(), monkeypatch, trust={"registry": 2})[0],
        recipe_by(vote(), monkeypatch, columns={"document_date": "day"})[0],
    ]
    monkeypatch.setattr(partition_state, "MERGING_VERSION", publish_decision.MERGING_VERSION + 1)
    assert len({*recipes, recipe_by(vote(), monkeypatch)[0]}) == 5
    assert recipe_by(vote(), monkeypatch, price={"gpu_hour": 2})[0] == recipe_by(vote(), monkeypatch)[0]
