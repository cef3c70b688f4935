"""What readers find: `current/`, which is the last publication whole, and the files of earlier ones for a time.

    <output>/current/profiles.parquet       all profiles of the last publication
    <output>/current/dead_letters.parquet   its dead letters

Each is one file that is replaced as a whole, on disks and in object stores: a reader who knows no manifest sees one
publication, never parts of two.
"""

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.state.manifest import Manifest
from jobs.state.parquet_schemas import DEAD_LETTERS
from jobs.state.storage import Storage, Written, suppress_outage

CURRENT = "current"
OF_RUNS = ("profiles", "dead_letters", "work/runs")  # have a folder for each run
RUN_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{6}")
ROWS_AT_ONCE = 5_000  # profiles with their evidence: some 20 MB


def renew_current(storage: Storage, manifest: Manifest, profiles: pa.Schema) -> None:
    """Replace both files of `current/` by what a manifest says is published."""
    _write_one(storage, "profiles", manifest.profiles, profiles)
    _write_one(storage, "dead_letters", manifest.dead_letters, DEAD_LETTERS)


def current_file(name: str) -> str:
    """Where in an output the last publication is: `profiles` or `dead_letters`."""
    return f"{CURRENT}/{name}.parquet"


def _write_one(storage: Storage, name: str, files: Sequence[Written], schema: pa.Schema) -> None:
    with tempfile.TemporaryDirectory(prefix="current-") as folder:
        whole = Path(folder, name)
        with pq.ParquetWriter(whole, schema, compression="zstd") as writer:
            for file in files:
                for table in storage.read_batches(file.path, ROWS_AT_ONCE):
                    writer.write_table(table.cast(schema))
        storage.put(current_file(name), whole)


def unpublished(storage: Storage, last: Manifest | None, run_id: str) -> int:
    """How many runs began after the last publication and before this run, and published nothing."""
    since = last.run_id if last else ""
    return sum(bool(RUN_ID.fullmatch(each)) and since < each < run_id for each in storage.folders("work/runs"))


def delete_old(storage: Storage, manifest: Manifest) -> None:
    """Delete what runs before the published one left, but for publications that the manifest keeps.

    What can't be deleted now is found again after the next run.
    """
    kept = {manifest.run_id, *manifest.previous}
    for parent in OF_RUNS:
        with suppress_outage():
            for run_id in storage.folders(parent):
                if RUN_ID.fullmatch(run_id) and run_id not in kept and run_id < manifest.run_id:
                    storage.delete_folder(f"{parent}/{run_id}")
