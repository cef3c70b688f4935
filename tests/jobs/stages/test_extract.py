"""The order in which chunks are asked, and crash records that outlast an actor."""

from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa

from actors.crash_suspects import CrashRecord
from actors.results import Request
from jobs.stages.extract import SuspectFile, read_rows
from jobs.stages.server_pool_size import PoolSize
from jobs.state.storage import Storage

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
    size = PoolSize(initial=1, maximum=1, running=2, rows=1, calls=2, tasks=2)
    lengths = [300, 40, 1200, 700, 90]
    chunks = [asdict(Request(f"c{n}", "text", length, 100)) for n, length in enumerate(lengths)]
    path = run.storage.write_table("chunks.parquet", pa.Table.from_pylist(chunks)).path
    (asked,) = read_rows(pa.table({"path": [path], "rows": [[0, 1, 2, 4]]}), run, size)
    assert asked["prompt_tokens"].to_pylist() == [1200, 300, 90, 40]
    assert asked["chunk_id"].to_pylist() == ["c2", "c0", "c4", "c1"]
