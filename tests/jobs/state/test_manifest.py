"""The manifest is the one file that says what is published."""

from pathlib import Path

import pyarrow as pa

from extraction.config.settings import Columns
from jobs.state import manifest
from jobs.state.storage import Storage
from tests.fakes.process import FakeServer
from tests.jobs.helpers import TEXT, job, row, write


def test_it_reads_back_and_its_paths_are_relative(tmp_path: Path, fake: FakeServer, cluster: None) -> None:
    schema = TEXT.append(pa.field("heading", pa.string()))
    source = write(tmp_path / "in.parquet", [{**row(0), "heading": "About us"}], schema)
    job(source, tmp_path / "out", fake.url, "--set", "columns.title=heading")
    found = manifest.read_manifest(Storage(str(tmp_path / "out")))
    assert found is not None
    assert found.columns == Columns(title="heading")
    assert found.versions.keys() >= {"python", "ray", "engine", "model", "company-profiles"}
    assert all((tmp_path / "out" / file.path).is_file() for file in found.profiles)


def test_none_before_anything_is_published(tmp_path: Path) -> None:
    assert manifest.read_manifest(Storage(str(tmp_path))) is None


def test_a_torn_one_is_none_and_the_next_run_replaces_it(tmp_path: Path, fake: FakeServer, cluster: None) -> None:
    source, output = write(tmp_path / "in.parquet", [row(0)]), tmp_path / "out"
    assert job(source, output, fake.url) == 0
    (output / "manifest.json").write_text('{"run_id": ')
    assert manifest.read_manifest(Storage(str(output))) is None
    assert job(source, output, fake.url) == 0
    replaced = manifest.read_manifest(Storage(str(output)))
    assert replaced is not None
    assert replaced.counts.chunks_from_ledger == 1
