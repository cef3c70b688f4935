"""current/ is one publication, whole, whatever fails; of earlier ones as many are kept as was asked for."""

import json
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from extraction.schema.company import ShortProfile
from jobs.state import publications
from jobs.state.manifest import MANIFEST, Counts, Manifest, Tokens
from jobs.state.parquet_schemas import DEAD_LETTERS, profile_schema
from jobs.state.storage import Storage
from tests.chaos import faulty

SCHEMA = profile_schema(ShortProfile)
RUNS = [f"2026010{n}T000000Z-00000{n}" for n in range(1, 6)]


@pytest.fixture(autouse=True, scope="module")
def registered() -> None:
    fsspec.register_implementation("faulty", faulty.FaultyFileSystem, clobber=True)


def publish(storage: Storage, run_id: str, companies: int, previous: tuple[str, ...] = ()) -> Manifest:
    """What a run leaves: profiles in two files, a dead letter, a plan, and the manifest."""
    rows = [{"company_id": f"{run_id} {n}", "name": "Harrow"} for n in range(companies)]
    halves = rows[: companies // 2], rows[companies // 2 :]
    letter = [{"document_id": run_id, "stage": "plan", "fault": "empty"}]
    files = [
        storage.write_table(f"profiles/{run_id}/{n}.parquet", pa.Table.from_pylist(half, SCHEMA))
        for n, half in enumerate(halves)
    ]
    dead = storage.write_table(f"dead_letters/{run_id}/0.parquet", pa.Table.from_pylist(letter, DEAD_LETTERS))
    storage.write(f"work/runs/{run_id}/run.json", b"{}")
    manifest = Manifest(
        run_id=run_id,
        fingerprint="f",
        profile="m:M",
        created_at="",
        previous=previous,
        counts=Counts(
            documents=0, chunks=0, chunks_answered=0, chunks_from_ledger=0, companies=companies, dead_letters=1
        ),
        tokens=Tokens(),
        profiles=tuple(files),
        dead_letters=(dead,),
        versions={},
    )
    storage.write(MANIFEST, manifest.model_dump_json().encode())
    return manifest


def runs_in_current(folder: Path) -> tuple[set[str], int]:
    """Of which runs its profiles are, and how many there are."""
    found = pq.read_table(folder / "current" / "profiles.parquet")
    assert found.schema.equals(SCHEMA)
    return {company.split()[0] for company in found["company_id"].to_pylist()}, found.num_rows


def test_it_is_the_last_publication(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    for run_id, companies in ((RUNS[0], 5), (RUNS[1], 3)):
        publications.renew_current(storage, publish(storage, run_id, companies), SCHEMA)
        assert runs_in_current(tmp_path) == ({run_id}, companies)
        letters = pq.read_table(tmp_path / "current" / "dead_letters.parquet")
        assert letters["document_id"].to_pylist() == [run_id]


def test_of_no_company_it_is_a_table_without_rows(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    publications.renew_current(storage, publish(storage, RUNS[0], 0), SCHEMA)
    assert runs_in_current(tmp_path) == (set(), 0)


@pytest.mark.parametrize("how", ["error", "full", "lost"])
def test_it_is_whole_whatever_operation_fails(tmp_path: Path, how: str) -> None:
    total = 0
    for at in range(40):
        folder = tmp_path / str(at)
        folder.mkdir()
        storage = Storage(f"faulty://{folder}/out")
        publications.renew_current(storage, publish(storage, RUNS[0], 4), SCHEMA)
        second = publish(storage, RUNS[1], 6, (RUNS[0],))
        faulty.order(folder, at, how)
        try:
            publications.renew_current(storage, second, SCHEMA)
            publications.delete_old(storage, second)
        except OSError:
            total += 1
        assert runs_in_current(folder / "out") in (({RUNS[0]}, 4), ({RUNS[1]}, 6))
        assert json.loads((folder / "out" / MANIFEST).read_text())["run_id"] == RUNS[1]
        faulty.order(folder, 0, how)
        publications.renew_current(storage, second, SCHEMA)
        assert runs_in_current(folder / "out") == ({RUNS[1]}, 6)
        if at > len(faulty.operations(folder)):
            break
    assert total >= (2 if how == "lost" else 4)


def test_old_publications_are_deleted_and_nothing_else(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    for run_id in RUNS:
        publish(storage, run_id, 2)
    last = publish(storage, RUNS[3], 2, (RUNS[2],))  # RUNS[4] is a run that has not published yet
    storage.write("profiles/mine/notes.txt", b"of a reader")
    publications.delete_old(storage, last)
    assert storage.folders("profiles") == [*RUNS[2:], "mine"]
    assert storage.folders("dead_letters") == storage.folders("work/runs") == RUNS[2:]


def test_runs_that_published_nothing_are_counted_from_the_last_publication_on(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    assert publications.unpublished(storage, None, RUNS[0]) == 0
    first = publish(storage, RUNS[0], 1)
    for run_id in RUNS[1:4]:
        storage.write(f"work/runs/{run_id}/run.json", b"{}")
    assert [publications.unpublished(storage, first, run_id) for run_id in RUNS[1:4]] == [0, 1, 2]
    assert publications.unpublished(storage, None, RUNS[3]) == 3
