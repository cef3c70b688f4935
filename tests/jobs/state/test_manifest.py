"""The manifest is the one file that says what is published."""

from pathlib import Path

import pyarrow as pa

from extraction.config.settings import Columns
from jobs.state import manifest
from jobs.state.storage import Storage
from tests.fakes.process import FakeServer
from tests.jobs.helpers import TEXT, job, row, write


def test_it_reads_back_and_a_torn_one_is_none_until_the_next_run(
    tmp_path: Path, fake: FakeServer, cluster: None
) -> None:
    schema = TEXT.append(pa.field("heading", pa.string()))
    source, output = write(tmp_path / "in.parquet", [{**row(0), "heading": "About us"}], schema), tmp_path / "out"
    more = ("--set", "columns.title=heading", "--set", "max_dead_fraction=1")
    assert job(source, output, fake.url, *more) == 0
    found = manifest.read_manifest(Storage(str(output)))
    assert found is not None
    assert found.columns == Columns(title="heading")
    assert found.versions.keys() >= {"python", "ray", "engine", "model", "company-profiles"}
    assert all((output / file.path).is_file() for file in (*found.profiles, *found.dead_letters))
    (output / "manifest.json").write_text('{"run_id": ')
    assert manifest.read_manifest(Storage(str(output))) is None
    assert job(source, output, fake.url, *more) == 0
    replaced = manifest.read_manifest(Storage(str(output)))
    assert replaced is not None
    assert replaced.counts.chunks_from_ledger == 1


def test_none_before_anything_is_published(tmp_path: Path) -> None:
    assert manifest.read_manifest(Storage(str(tmp_path))) is None
