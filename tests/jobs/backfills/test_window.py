"""The window: of each company what all partitions hold, merged anew only where it changed, killed or not."""

import errno
import shutil
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from actors.results import RESULTS, Result
from extraction.chunking.chunker import Chunk
from extraction.documents import Piece
from extraction.errors import RunError
from jobs.backfills import window
from jobs.backfills.window import publish_window, window_due, window_run
from jobs.stages import ray_cluster
from jobs.state.parquet_schemas import CHUNKS
from jobs.state.storage import Storage
from tests.jobs.helpers import a_run
from tests.jobs.outputs import reply

pytestmark = pytest.mark.usefixtures("cluster")
Day = Mapping[str, Mapping[str, str | None]]  # by company and document the name that it gives; None: no answer


class World:
    """Partitions as runs of a backfill leave them, and the window over those that are there."""

    def __init__(self, folder: Path) -> None:
        run = a_run(folder, confidence__min_confidence=0)
        self.storage = run.storage
        self.whole = replace(run, ledgers=self.storage.under("ledger"))
        self.partitions: dict[str, str] = {}
        self.runs = 0

    def write(self, path: str, day: Day) -> None:
        """Plan and answer a partition, as a new run of it."""
        self.runs += 1
        chunks, answers = [], []
        for company, documents in day.items():
            for document, name in documents.items():
                text = f"{name} makes pumps and seals in Porto."
                piece = Piece(document, 0, len(text), 0, len(text), None, None, f"{path}#{document}")
                chunk_id = f"{path} {company} {document} {name}"
                chunks.append(asdict(Chunk(chunk_id, company, text, 10, 10, (piece,))))
                replies = [reply(name=name, kind="organization")] if name else []
                fault = {} if name else {"fault": "invalid", "message": "no JSON"}
                answers.append({**asdict(Result(chunk_id, attempts=1)), "replies": replies, "scores": [], **fault})
        self.partitions[path] = f"20260101T0000{self.runs:02}Z-000000"
        plan = f"{path}/work/runs/{self.partitions[path]}/chunks/{{sha}}.parquet"
        self.storage.write_table(plan, pa.Table.from_pylist(chunks, CHUNKS))
        ledger = self.whole.ledger
        ledger.append("made", pa.Table.from_pylist(answers, RESULTS))

    @property
    def ordered(self) -> dict[str, str]:
        return dict(sorted(self.partitions.items()))

    def publish(self, folder: str = "window", storage: type[Storage] = Storage) -> dict[str, Any]:
        """Publish the window in a folder; what readers find then."""
        self.runs += 1
        output = storage(self.storage.under(folder).url)
        run = replace(self.whole, storage=output, run_id=f"20260101T0001{self.runs:02}Z-000000")
        publish_window(run, self.storage, self.ordered, "recipe", self.whole.ledger.index())
        return self.published(folder)

    def due(self) -> bool:
        return window_due(window_run(self.whole, ()), self.ordered, "recipe")

    def published(self, folder: str = "window") -> dict[str, Any]:
        """What readers find: all rows of profiles and dead letters."""
        return {
            name: self.storage.read_table(f"{folder}/current/{name}.parquet").sort_by(key).to_pylist()
            for name, key in (("profiles", "company_id"), ("dead_letters", "document_id"))
        }


@pytest.fixture(autouse=True)
def small_buckets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "COMPANIES_A_BUCKET", 3)


def names(published: dict[str, Any]) -> dict[str, tuple[str, list[str]]]:
    return {row["company_id"]: (row["name"], row["documents"]) for row in published["profiles"]}


def test_of_each_company_what_all_partitions_hold(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.write("date=1", {"a": {"a1": "Harrow", "a2": "Pell"}, "b": {"b1": "Tull"}, "c": {"c1": None}})
    world.write("date=2", {"a": {"a3": "Pell"}, "d": {"d1": "Lis"}, "e": {"e1": "Lyn"}})
    published = world.publish()
    assert names(published) == {
        "a": ("Pell", ["a1", "a2", "a3"]), "b": ("Tull", ["b1"]), "d": ("Lis", ["d1"]), "e": ("Lyn", ["e1"]),
    }  # fmt: skip
    assert [(letter["document_id"], letter["fault"]) for letter in published["dead_letters"]] == [("c1", "invalid")]

    ticks: list[tuple[str, Day | None, dict[str, str | None]]] = [
        ("date=3", {"b": {"b1": "Tull Ltd"}, "f": {"f1": "Moor"}}, {"b": "Tull Ltd", "f": "Moor"}),  # b1 once more
        (
            "date=2",
            {"a": {"a3": "Harrow"}, "c": {"c1": "Quim"}},
            {"a": "Harrow", "c": "Quim", "d": None, "e": None},
        ),
        ("date=1", None, {"a": "Harrow", "b": "Tull Ltd", "c": "Quim"}),  # leaves the window
        ("date=3", {"b": {"b1": None}}, {"b": None, "f": None}),
    ]
    expected: dict[str, str | None] = {company: name for company, (name, _) in names(published).items()}
    for path, day, changes in ticks:
        if day is None:
            del world.partitions[path]
        else:
            world.write(path, day)
        assert world.due()
        tick = world.publish()
        expected |= changes
        assert {c: n for c, (n, _) in names(tick).items()} == {c: n for c, n in expected.items() if n}
        assert tick == world.publish(f"whole-{world.runs}")
        assert not world.due()


def test_companies_that_did_not_change_are_not_merged_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(window, "COMPANIES_A_BUCKET", 4)  # each bucket is a task of its own
    world = World(tmp_path)
    world.write("date=1", {company: {f"{company}1": "Harrow"} for company in "abcdefg"})
    before = names(world.publish())
    monkeypatch.setattr(window, "MERGED_AT_ONCE", 0)  # as where there are many
    assert names(world.publish("many")) == before
    shutil.rmtree(tmp_path / "out" / "ledger")  # without answers there would be no profile
    world.write("date=2", {"x": {"x1": "Tull"}})
    assert names(world.publish()) == before | {"x": ("Tull", ["x1"])}


def test_of_a_partition_that_is_published_again_only_companies_that_differ_are_merged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, merged, reduce = World(tmp_path), list[int](), window._reduce

    def counting(*args: Any) -> Any:
        merged.append(args[5])
        return reduce(*args)

    monkeypatch.setattr(window, "_reduce", counting)
    day: dict[str, dict[str, str | None]] = {company: {f"{company}1": "Harrow"} for company in "abcdefg"}
    day |= {"n": {"n1": None}}
    world.write("date=1", day)
    world.write("date=2", {"a": {"a2": "Pell"}})
    world.publish()
    changed = day | {"a": {"a1": "Pell"}, "b": {"b1": "Harrow", "b2": "Tull"}, "x": {"x1": "Lis"}}
    del changed["g"]
    for _ in range(2):
        world.write("date=1", changed)
        assert world.publish() == world.publish(f"whole-{world.runs}")
    # What failed may fail in another way in the next run, so `n` is merged each time.
    assert merged == [8, len("abxn"), 8, len("n"), 8]


@pytest.mark.parametrize("gone", ["ledger", "date=1/work"])
def test_what_is_gone_is_told_and_nothing_is_published(tmp_path: Path, gone: str) -> None:
    world = World(tmp_path)
    world.write("date=1", {"a": {"a1": "Harrow"}})
    before = world.publish()
    world.write("date=2", {"a": {"a2": "Harrow"}})
    shutil.rmtree(tmp_path / "out" / gone)
    with pytest.raises(Exception, match=r"gone|no results") as error:
        world.publish()
    assert isinstance(ray_cluster.reason(error.value), RunError)
    assert world.published() == before


class Dying(Storage):
    """A storage that fails at one of the driver's writes; tasks get one that does not."""

    left = 0

    def write(self, path: str, data: bytes) -> None:
        self._count()
        super().write(path, data)

    def put(self, path: str, local: Path) -> None:
        self._count()
        super().put(path, local)

    @classmethod
    def _count(cls) -> None:
        cls.left -= 1
        if not cls.left:
            raise OSError(errno.EIO, "the run dies")


def test_a_run_that_dies_at_any_write_changes_nothing_or_all(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.write("date=1", {"a": {"a1": "Harrow"}, "b": {"b1": "Tull"}})
    before = world.publish()
    world.write("date=2", {"a": {"a2": "Harrow"}, "c": {"c1": "Lis"}})
    expected, deaths = world.publish("expected"), 0
    start = tmp_path / "out" / "window"
    shutil.copytree(start, tmp_path / "start")
    for at in range(1, 20):
        shutil.rmtree(start)
        shutil.copytree(tmp_path / "start", start)
        Dying.left = at
        try:
            world.publish(storage=Dying)
        except (OSError, RunError):
            deaths += 1
            assert world.published() in (before, expected)
            assert world.due()
            assert world.publish() == expected
        assert not world.due()
        if Dying.left > 0:
            break
    assert deaths >= 6
    assert world.published() == expected
