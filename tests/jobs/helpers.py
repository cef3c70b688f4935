"""How the tests of jobs make input, run the job and check what came of it."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from extraction.config.settings import load_settings
from jobs import extract
from jobs.cli.command import CONFIGS
from jobs.stages.engines import fleet
from jobs.stages.run import Run
from jobs.state.storage import Storage

TEXT = pa.schema([(name, pa.string()) for name in ("document_id", "company_id", "text", "title")])

OUR_LINES = ("plan ", "extract ", "note ", "endpoint: ")  # what a run that goes well says, without a terminal


def row(number: int, company: int | None = None, text: str | None = None) -> dict[str, Any]:
    """A document about a company of its own, or of the number given."""
    company = number if company is None else company
    said = f"Northwind Works {company} makes pumps in Porto, Portugal, since {1900 + company}. Note {number}."
    return {"document_id": f"d{number:03}", "company_id": f"c{company:03}", "text": said if text is None else text}


def write(path: Path, rows: Sequence[dict[str, Any]], schema: pa.Schema = TEXT) -> Path:
    """A Parquet file of documents."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows), schema), path)
    return path


def arguments(source: Path, output: Path, url: str, *more: str) -> list[str]:
    """The command line for a small run against an endpoint."""
    fixed = ["--engine", "endpoint", "--endpoint", url, "--model", "fake", "--config", "configs/demo.yaml"]
    quick = ["--set", "ledger.flush_s=0.05", "--set", "requests.backoff_s=0.01", "--set", "requests.deadline_s=20"]
    return ["--input", str(source), "--output", str(output), *fixed, *quick, *more]


def owned(source: Path, output: Path, model: Path, fake: Sequence[str], **settings: Any) -> list[str]:
    """The command line for a small run on servers of its own: the fake one in SGLang's place, with flags. Settings
    are named with `__` for a dot."""
    command = ["python", "-m", "tests.fakes.server", *fake]
    told = {"sglang.command": command, "sglang.vram_gib": 79.6, "sglang.flags.max_running_requests": 4}
    told |= {"ledger.flush_s": 0.05, **{name.replace("__", "."): value for name, value in settings.items()}}
    given = [
        part for key, value in told.items() if value is not None for part in ("--set", f"{key}={json.dumps(value)}")
    ]
    paths = ["--input", str(source), "--output", str(output)]
    return [*paths, "--engine", "sglang", "--model", str(model), "--config", "configs/demo.yaml", *given]


def a_run(folder: Path, run_id: str = "20260101T000000Z-000000", **settings: Any) -> Run:
    """A run by hand, as of the demo; nobody answers at its endpoint. Settings are named with `__` for a dot."""
    told = {"endpoint.url": "http://127.0.0.1:9", "model.name": "fake"}
    told |= {name.replace("__", "."): value for name, value in settings.items()}
    found = load_settings(CONFIGS / "demo.yaml", told)
    return Run(run_id, found, fleet("endpoint", found), Storage(str(folder / "out")), folder)


def job(source: Path, output: Path, url: str, *more: str) -> int:
    """Run the job in this process; its exit code."""
    return extract.main(arguments(source, output, url, *more))


def manifest(output: Path) -> dict[str, Any]:
    """The published manifest."""
    found: dict[str, Any] = json.loads((output / "manifest.json").read_text())
    return found


def rows_of(output: Path, kind: str) -> list[dict[str, Any]]:
    """All rows of the published profiles or dead letters."""
    files = [pq.read_table(output / file["path"]) for file in manifest(output)[kind]]
    return pa.concat_tables(files).to_pylist() if files else []


def held(output: Path) -> dict[str, str]:
    """Chunk ids that stand in the ledger on disk, and the server of each answer."""
    ledger, found = Storage(str(output / "work" / "ledger")), dict[str, str]()
    for folder in (output / "work" / "ledger").glob("*"):
        for path in ledger.list(folder.name, ".parquet"):
            answers = ledger.read_table(path, ["chunk_id", "server"]).to_pylist()
            found |= {answer["chunk_id"]: answer["server"] for answer in answers}
    return found


def census(output: Path, ids: set[str]) -> None:
    """Every document is in exactly one state, nothing twice, and the files are what the manifest says."""
    said = manifest(output)
    for kind in ("profiles", "dead_letters"):
        for file in said[kind]:
            data = (output / file["path"]).read_bytes()
            assert (len(data), hashlib.sha256(data).hexdigest()) == (file["bytes"], file["sha256"])
            assert pq.read_metadata(output / file["path"]).num_rows == file["rows"]
    profiles = rows_of(output, "profiles")
    companies = [profile["company_id"] for profile in profiles]
    assert len(companies) == len(set(companies)) == said["counts"]["companies"]
    in_profiles = [document for profile in profiles for document in profile["documents"]]
    letters = rows_of(output, "dead_letters")
    assert len(letters) == said["counts"]["dead_letters"]
    # A row with an id that another row had before is a letter of its own; the id is the other's.
    dead = [letter["document_id"] for letter in letters if letter["fault"] != "duplicate_id"]
    assert len(in_profiles) == len(set(in_profiles))
    assert not set(in_profiles) & set(dead)
    assert set(in_profiles) | set(dead) - {None} == ids
