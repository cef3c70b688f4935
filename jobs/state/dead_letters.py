"""Dead letters: the documents that gave nothing, each with the reason.

<output>/dead_letters/<run>/<stage>-<sha>.parquet
"""

from collections.abc import Sequence
from dataclasses import asdict

import pyarrow as pa

from extraction.documents import DeadLetter
from jobs.state.parquet_schemas import described
from jobs.state.storage import Storage, Written

DEAD_LETTERS = pa.schema(
    described(
        ("document_id", pa.string(), "The document; null where the row has no id or can't be read"),
        ("source_path", pa.string(), "File or URL and row (`#row=`, from 0) of the input"),
        ("stage", pa.string(), "The stage that gave it up: `plan`, `extract` or `reduce`"),
        ("fault", pa.string(), "The reason: a fault such as `empty`"),
        ("message", pa.string(), "The reason in words, with names and limits; never a part of the document"),
        ("attempts", pa.int32(), "Requests that were made for it"),
        (
            "documents",
            pa.int64(),
            "Documents that it stands for: 1, or the rows of a file or row group that can't be read, where they "
            "are known",
        ),
    )
)


def write_dead_letters(storage: Storage, run_id: str, stage: str, dead: Sequence[DeadLetter]) -> Written:
    """Write the dead letters of a stage."""
    table = pa.Table.from_pylist([asdict(letter) for letter in dead], DEAD_LETTERS)
    return storage.write_table(f"dead_letters/{run_id}/{stage}-{{sha}}.parquet", table)
