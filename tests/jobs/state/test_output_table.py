"""A table holds one publication, whole, whenever a commit is killed; the same publication is committed once."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from deltalake import DeltaTable
from pyiceberg.utils.config import Config

from extraction.errors import OperatorError, RunError
from extraction.schema.company import CompanyProfile, ShortProfile
from jobs.state import output_table
from jobs.state.manifest import Manifest
from jobs.state.output_table import check_table, commit_table
from jobs.state.parquet_schemas import profile_schema
from jobs.state.storage import Storage
from tests.conftest import ROOT
from tests.fakes.object_stores import BUCKET, object_store
from tests.jobs.state import committing
from tests.jobs.state.test_publications import RUNS, SCHEMA, publish

KINDS = ("iceberg", "delta")
CASES = 6
Rows = dict[str, str]


class Wider(ShortProfile):
    """The profile with a field more."""

    motto: str | None


def rows_of(folder: Path, kind: str) -> pa.Table:
    """A table's rows as its own library reads them."""
    if kind == "delta":
        return DeltaTable(str(folder / "table")).to_pyarrow_table()
    with iceberg(folder) as catalog:
        return catalog.load_table("profiles.companies").scan().to_arrow()


def iceberg(folder: Path) -> Any:
    return output_table.IcebergOutput(f"{folder}/warehouse", "profiles.companies")._open()


def runs_in(folder: Path, kind: str) -> list[str]:
    """The runs of a table's commits, the oldest first."""
    if kind == "delta":
        return [one[output_table.RUN_MARK] for one in reversed(DeltaTable(str(folder / "table")).history())]
    with iceberg(folder) as catalog:
        table = catalog.load_table("profiles.companies")
        return [snapshot.summary[output_table.RUN_MARK] for snapshot in table.snapshots()]


def by_duckdb(folder: Path, kind: str) -> Rows:
    """A table's names by company, as DuckDB reads them."""
    if kind == "delta":
        profiles = duckdb.from_arrow(DeltaTable(str(folder / "table")).to_pyarrow_dataset())
        return dict(profiles.select("company_id", "name").fetchall())
    with iceberg(folder) as catalog:
        connection = catalog.load_table("profiles.companies").scan().to_duckdb("profiles")
        return dict(connection.execute("select company_id, name from profiles").fetchall())


def published(storage: Storage, run_id: str, *files: Rows, schema: pa.Schema = SCHEMA) -> Manifest:
    """A publication of names by company, some in each file."""
    base = publish(storage, run_id, 0)
    written = [
        storage.write_table(
            f"profiles/{run_id}/{number}.parquet",
            pa.Table.from_pylist([{"company_id": c, "name": name} for c, name in rows.items()], schema),
        )
        for number, rows in enumerate(files)
    ]
    return base.model_copy(update={"profiles": tuple(written)})


@pytest.mark.parametrize("kind", KINDS)
def test_changed_new_and_vanished_companies(tmp_path: Path, kind: str) -> None:
    storage, table = Storage(str(tmp_path / "out")), committing.place(tmp_path, kind)
    check_table(table, storage, SCHEMA)
    first, second = {"a": "Harrow", "b": "Pell"}, {"c": "Tull"}
    for run_id, files in (
        (RUNS[0], (first, second)),
        (RUNS[1], (first, {"c": "Tull Ltd", "d": "Lis"})),
        (RUNS[2], ({"d": "Lis"}, {"b": "Pell"})),
        (RUNS[3], ()),
    ):
        manifest = published(storage, run_id, *files)
        expected = {company: name for file in files for company, name in file.items()}
        for _ in range(2):  # the same once more changes nothing
            commit_table(table, storage, manifest, SCHEMA)
            found = rows_of(tmp_path, kind)
            assert dict(zip(*(found[c].to_pylist() for c in ("company_id", "name")), strict=True)) == expected
            assert found.num_rows == len(expected)
            assert by_duckdb(tmp_path, kind) == expected
            assert runs_in(tmp_path, kind)[-1] == run_id
    assert runs_in(tmp_path, kind) == RUNS[:4]
    assert Path(output_table.table_at(table).location().removeprefix("file://")).is_dir()
    again = published(storage, RUNS[4])
    commit_table(table, storage, again, SCHEMA)  # another run with the same profiles
    assert runs_in(tmp_path, kind) == RUNS[:4]


def test_iceberg_keeps_the_files_of_what_did_not_change(tmp_path: Path) -> None:
    storage, table = Storage(str(tmp_path / "out")), committing.place(tmp_path, "iceberg")
    found = []
    for run_id, name in zip(RUNS[:3], ("Tull", "Tull Ltd", "Tull"), strict=True):
        commit_table(table, storage, published(storage, run_id, {"a": "Harrow"}, {"c": name}), SCHEMA)
        with iceberg(tmp_path) as catalog:
            tasks = catalog.load_table("profiles.companies").scan().plan_files()
            found.append({task.file.file_path for task in tasks})
    assert [len(files) for files in found] == [2, 2, 2]
    assert len(set.intersection(*found)) == 1
    assert len(set.union(*found)) == 4  # one that comes back is written anew: a clean-up may have its name


@pytest.mark.parametrize("kind", KINDS)
def test_killed_at_any_moment_it_is_one_publication_and_completed_once(tmp_path: Path, kind: str) -> None:
    command = [sys.executable, "-m", committing.__name__, str(tmp_path), kind, str(CASES)]
    subprocess.run(command, cwd=ROOT, check=True)
    before, after = ({f"{RUNS[n]} {row}" for row in range(committing.ROWS[n])} for n in (0, 1))
    killed = 0
    for case in range(CASES):
        folder = tmp_path / str(case)
        found = rows_of(folder, kind)["company_id"].to_pylist()
        assert len(found) == len(set(found)) and set(found) in (before, after)
        killed += set(found) == before
        committing.commit(folder, kind, 1)
        assert sorted(rows_of(folder, kind)["company_id"].to_pylist()) == sorted(after)
        assert runs_in(folder, kind) == RUNS[:2]
    assert killed


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_field_becomes_a_column_and_one_that_is_gone_stays(tmp_path: Path, kind: str) -> None:
    storage, table = Storage(str(tmp_path / "out")), committing.place(tmp_path, kind)
    wider = profile_schema(Wider)
    for run_id, schema in zip(RUNS, (SCHEMA, wider, SCHEMA), strict=False):
        commit_table(table, storage, published(storage, run_id, {"a": run_id}, schema=schema), schema)
        found = rows_of(tmp_path, kind)
        assert found["name"].to_pylist() == [run_id]
        assert ("motto" in found.column_names) == (run_id != RUNS[0])
        names = [field.name for field in found.schema.field("confidence").type]
        assert ("motto" in names) == (run_id != RUNS[0])
    other = pa.schema([("company_id", pa.string()), ("name", pa.list_(pa.string()))])
    with pytest.raises(OperatorError, match=r"can't take the profiles' columns: .*name another table"):
        check_table(table, storage, other)
    check_table(table, storage, profile_schema(CompanyProfile))


@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_others_and_later_runs_stay(tmp_path: Path, kind: str) -> None:
    storage, table = Storage(str(tmp_path / "out")), committing.place(tmp_path, kind)
    commit_table(table, storage, published(storage, RUNS[1], {"a": "Harrow"}), SCHEMA)
    with pytest.raises(RunError, match="began later"):
        commit_table(table, storage, published(storage, RUNS[0], {"b": "Pell"}), SCHEMA)
    other = Storage(str(tmp_path / "other"))
    with pytest.raises(OperatorError, match="rows that were not written from this output"):
        check_table(table, other, SCHEMA)
    with pytest.raises(OperatorError, match="rows that were not written from this output"):
        commit_table(table, other, published(other, RUNS[2], {"b": "Pell"}), SCHEMA)
    assert by_duckdb(tmp_path, kind) == {"a": "Harrow"}


@pytest.mark.parametrize("kind", KINDS)
def test_of_two_commits_at_once_one_fails_whole(tmp_path: Path, kind: str) -> None:
    storage, table = Storage(str(tmp_path / "out")), committing.place(tmp_path, kind)
    meanwhile = published(storage, RUNS[1], {"b": "Pell"})

    class Slow(Storage):
        """While it is read, another run commits."""

        def read_batches(self, path: str, *_: Any) -> Any:
            yield self.read_table(path)

        def read_table(self, path: str, *_: Any) -> pa.Table:
            with ThreadPoolExecutor() as thread:
                thread.submit(commit_table, table, storage, meanwhile, SCHEMA).result()
            return storage.read_table(path)

    with pytest.raises(RunError, match=r"is still the run before: .*Run again"):
        commit_table(table, Slow(storage.url), published(storage, RUNS[0], {"a": "Harrow"}), SCHEMA)
    assert by_duckdb(tmp_path, kind) == {"b": "Pell"}
    assert runs_in(tmp_path, kind) == [RUNS[1]]


def test_output_and_tables_in_an_object_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with object_store("s3"):
        storage = Storage(f"s3://{BUCKET}/out")
        lake = {"type": "sql", "uri": f"sqlite:///{tmp_path}/lake.db", "warehouse": f"s3://{BUCKET}/warehouse"}
        for key, value in {**lake, "s3__endpoint": os.environ["AWS_ENDPOINT_URL"]}.items():
            monkeypatch.setenv(f"PYICEBERG_CATALOG__LAKE__{key.upper()}", value)
        monkeypatch.setattr("pyiceberg.catalog._ENV_CONFIG", Config())  # read once a process
        monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
        manifest = published(storage, RUNS[0], {"a": "Harrow"}, {"b": "Pell"})
        for table in (f"delta://s3://{BUCKET}/table", "iceberg://lake/sales.companies"):
            for _ in range(2):
                check_table(table, storage, SCHEMA)
                commit_table(table, storage, manifest, SCHEMA)
        delta = DeltaTable(f"s3://{BUCKET}/table")
        assert (delta.version(), sorted(delta.to_pyarrow_table()["company_id"].to_pylist())) == (0, ["a", "b"])
        with output_table.IcebergOutput("lake", "sales.companies")._open() as catalog:
            found = catalog.load_table("sales.companies")
            assert len(found.snapshots()) == 1
            assert sorted(found.scan().to_arrow()["company_id"].to_pylist()) == ["a", "b"]


@pytest.mark.parametrize(
    "given",
    ["profiles", "hudi://a/b", "iceberg://", "iceberg://a.b", "iceberg://c/b", "iceberg://a/c/a.b", "delta://"],
)
def test_what_is_no_table_is_refused(given: str) -> None:
    with pytest.raises(OperatorError, match="is expected"):
        output_table.table_at(given)


def test_a_library_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "deltalake", None)
    with pytest.raises(
        OperatorError, match="deltalake is not installed: install the project with its `delta` extra"
    ):
        output_table.table_at("delta:///x")


def test_a_catalog_that_is_not_configured_is_the_operators_mistake(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match=r"iceberg://nowhere/a.b can't be opened or written to: .*"):
        check_table("iceberg://nowhere/a.b", Storage(str(tmp_path)), SCHEMA)
