"""What benchmarks share: runs and chunks that are made up, and how their numbers are shown."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from rich.table import Table

from extraction.config.settings import load_settings
from jobs.benchmarks.instant_server import MODEL
from jobs.cli.command import PlainConsole
from jobs.cli.flags import write_file
from jobs.stages import extract
from jobs.stages.engines import fleet
from jobs.stages.run import Run, new_run_id
from jobs.state.ledger import digests
from jobs.state.storage import storage_at

NO_ENDPOINT = "http://127.0.0.1:9/v1"  # nobody is asked
WIDTH, WIDTH_OF_TEXT = 170, 60  # of the table, and of a column of texts, in characters
INSTANT = {"model.name": MODEL}
SENTENCE = "Alder & Finch Ltd of Galway makes oak furniture, and ships it to customers in eleven countries. "


def made_up_run(config: Path, folder: str, overrides: Mapping[str, Any] = INSTANT) -> Run:
    """A run in a folder, whose servers are still to be lent to it."""
    settings = load_settings(config, {"endpoint.url": NO_ENDPOINT, **overrides})
    return Run(new_run_id(), settings, fleet("endpoint", settings), storage_at(folder), Path(folder, "logs"))


def made_up_requests(tokens: Sequence[int], characters: int) -> pa.Table:
    """Made-up chunks, one for each number of tokens, each with a line of its own."""
    text = SENTENCE * (characters // len(SENTENCE) + 1)
    contents = [f"{number:09}\n{text[: characters - 10]}" for number in range(len(tokens))]
    ids = [f"{number:064x}" for number in range(len(tokens))]
    lengths = pa.array(tokens, pa.int64())
    return pa.table({"chunk_id": ids, "content": contents, "prompt_tokens": lengths, "max_tokens": lengths})


def work_on(run: Run, asked: pa.Table) -> extract.Work:
    """All of these chunks as the work of a run, whose ledger holds nothing."""
    path = run.storage.write_table(f"{run.folder}/chunks/{{sha}}.parquet", asked).path
    ids = digests(asked["chunk_id"].to_pylist())
    return extract.Work({path: np.arange(len(ids))}, ids, len(ids))


def show(rows: Sequence[Mapping[str, Any]], json_file: Path | None = None) -> None:
    """Print rows of one kind, a line each, texts to the left and numbers to the right, and write them as JSON."""
    flat = [_flat(row) for row in rows]
    shown = Table(box=None, pad_edge=False)
    for name, value in flat[0].items():
        if isinstance(value, str):
            shown.add_column(name.replace("_", " "), overflow="fold", max_width=WIDTH_OF_TEXT)
        else:
            shown.add_column(name.replace("_", " "), justify="right", no_wrap=True)
    for row in flat:
        shown.add_row(*map(_cell, row.values()))
    PlainConsole(width=WIDTH).print(shown)
    if json_file:
        write_file(json_file, json.dumps(rows, indent=1) + "\n", "--json")


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in row.items():
        flat |= {f"{key} {name}": each for key, each in value.items()} if isinstance(value, dict) else {name: value}
    return flat


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, tuple):
        return " + ".join(map(_cell, value))
    if isinstance(value, float) and abs(value) < 100:
        return f"{value:.3g}"
    return value if isinstance(value, str) else f"{value:,.0f}"
