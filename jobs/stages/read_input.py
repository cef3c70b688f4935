"""The input: Parquet files found and looked over, then read piece by piece into document rows."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from extraction.config.settings import Columns
from extraction.documents import DeadLetter
from extraction.errors import Fault, OperatorError
from jobs.state.storage import is_outage
from jobs.state.tables import DOCUMENT_ROWS

FOOTER_THREADS = 16
ROWS_PER_BATCH = 1_000
GLOB_SIGNS = "*?["
REQUIRED = ("document_id", "text")
OPTIONAL = ("company_id", "title", "url", "document_type", "document_date", "company_name", "website")


@dataclass(frozen=True)
class RowGroup:
    """A row group of an input file, or the first `rows` rows of it. `first_row` counts from the file's start,
    `bytes` is the size of the whole row group, not compressed."""

    url: str
    row_group: int
    first_row: int
    rows: int
    bytes: int


@dataclass(frozen=True)
class Input:
    """What a run reads: its parts in order, and the files that can't be read."""

    parts: tuple[RowGroup, ...]
    dead_letters: tuple[DeadLetter, ...]

    @property
    def rows(self) -> int:
        """Number of rows, each a document or a dead letter."""
        return sum(part.rows for part in self.parts)

    @property
    def bytes(self) -> int:
        """Size of the row groups that it is in, not compressed."""
        return sum(part.bytes for part in self.parts)


def find_input(inputs: Sequence[str], columns: Columns, limit: int | None = None) -> Input:
    """Find the input's Parquet files and read their footers; `limit` keeps the first documents only.

    Raises OperatorError when there is no Parquet file, or none with the required columns.
    """
    return look_over([url for given in inputs for url in _files(given)], columns, limit)


def look_over(urls: Sequence[str], columns: Columns, limit: int | None = None) -> Input:
    """The same for files that are already found, at least one."""
    with ThreadPoolExecutor(FOOTER_THREADS) as pool:
        looked = list(pool.map(lambda url: _look_over(url, columns), urls))
    bad = [found for found in looked if isinstance(found, DeadLetter)]
    if len(bad) == len(looked):
        raise OperatorError(f"{bad[0].source_path}: {bad[0].message}")
    parts = [part for found in looked if not isinstance(found, DeadLetter) for part in found]
    return Input(tuple(_first(parts, limit)), tuple(bad))


def _files(given: str) -> list[str]:
    """The Parquet files that a path, folder, glob or URL stands for, as URLs."""
    try:
        filesystem, path = fsspec.url_to_fs(given)
        if any(sign in path for sign in GLOB_SIGNS):
            named = path.split("/")
            found = [p for p in filesystem.glob(path) if is_data(str(p), named=named)]
        elif filesystem.isdir(path):
            found = [p for p in filesystem.find(path) if is_data(str(p), path)]
        elif filesystem.exists(path):
            found = [path]
        else:
            raise OperatorError(f"--input {given}: there is no such file or folder")
    except (ImportError, ValueError, OSError) as error:
        raise OperatorError(f"--input {given} can't be opened: {error}") from None
    if not found:
        raise OperatorError(f"--input {given}: there are no Parquet files (*.parquet) there")
    return [filesystem.unstrip_protocol(str(p)) for p in sorted(found)]


def is_data(path: str, folder: str = "", named: Sequence[str] = ()) -> bool:
    """Whether a file that was found in a folder is meant as input: no part of its path below there is hidden, save
    those that were asked for by name."""
    below = path.removeprefix(folder).split("/")
    return path.endswith((".parquet", ".pq")) and not any(is_hidden(part) for part in below if part not in named)


def is_hidden(name: str) -> bool:
    """Whether a file or folder is no data, as Spark has it: unfinished or about the data, unless it is a key's."""
    return name.startswith(".") or (name.startswith("_") and "=" not in name)


def _look_over(url: str, columns: Columns) -> list[RowGroup] | DeadLetter:
    """The parts of one file, from its footer; a dead letter where the file can't be read."""
    try:
        with fsspec.open(url, "rb") as file:
            parquet = pq.ParquetFile(file)
            names, footer = parquet.schema_arrow.names, parquet.metadata
            groups = [footer.row_group(n) for n in range(footer.num_row_groups)]
            counts = [group.num_rows for group in groups]
    except (pa.ArrowException, OSError) as error:
        if is_outage(error):
            raise
        why = f"this is no readable Parquet file ({_short(error)})"
        return DeadLetter(None, url, "plan", Fault.UNREADABLE, why)
    missing = [getattr(columns, name) for name in REQUIRED if getattr(columns, name) not in names]
    if missing:
        why = f"there is no column {missing[0]!r} among {', '.join(names)}: map it with --set columns.NAME=COLUMN"
        return DeadLetter(None, url, "plan", Fault.UNREADABLE, why)
    starts = [sum(counts[:n]) for n in range(len(counts))]
    return [RowGroup(url, n, starts[n], g.num_rows, g.total_byte_size) for n, g in enumerate(groups) if g.num_rows]


def _first(parts: Sequence[RowGroup], limit: int | None) -> Iterator[RowGroup]:
    left = limit
    for part in parts:
        if left is None:
            yield part
        elif left > 0:
            yield replace(part, rows=min(left, part.rows))
            left -= part.rows


def read_rows_of(part: RowGroup, columns: Columns) -> Iterator[pa.Table]:
    """The rows of a part as DOCUMENT_ROWS; one row with `unreadable` set where it can't be read."""
    done = 0
    try:
        with fsspec.open(part.url, "rb") as file:
            parquet = pq.ParquetFile(file)
            there = set(parquet.schema_arrow.names)
            wanted = {name: getattr(columns, name) for name in (*REQUIRED, *OPTIONAL)}
            taken = {name: column for name, column in wanted.items() if column in there}
            for batch in parquet.iter_batches(
                ROWS_PER_BATCH, row_groups=[part.row_group], columns=sorted(set(taken.values()))
            ):
                batch = batch.slice(0, part.rows - done)
                if batch.num_rows:
                    yield _document_rows(batch, taken, part, done)
                done += batch.num_rows
                if done >= part.rows:
                    break
    except (pa.ArrowException, OSError) as error:
        if is_outage(error):
            raise
        lost = f"rows {part.first_row + done} to {part.first_row + part.rows - 1} can't be read ({_short(error)})"
        row: dict[str, Any] = dict.fromkeys(DOCUMENT_ROWS.names)
        row |= {
            "company_id": part.url,
            "source_path": part.url,
            "row": part.first_row + done,
            "unreadable": lost,
        }
        yield pa.Table.from_pylist([row], DOCUMENT_ROWS)


def _document_rows(batch: pa.RecordBatch, taken: dict[str, str], part: RowGroup, done: int) -> pa.Table:
    rows = batch.num_rows
    ids = _as_text(batch[taken["document_id"]])
    text, not_text = _text(batch[taken["text"]])
    number = pa.array(range(part.first_row + done, part.first_row + done + rows), pa.int64())
    source = pa.array([part.url] * rows, pa.string())
    nameless = pc.binary_join_element_wise(source, pc.cast(number, pa.string()), "#row=")
    given = {name: _as_text(batch[taken[name]]) for name in OPTIONAL if name in taken}
    company = given.pop("company_id", pa.nulls(rows, pa.string()))
    columns = {
        "document_id": ids,
        "company_id": pc.coalesce(company, ids, nameless),
        "text": text,
        "source_path": source,
        "row": number,
        "not_text": not_text,
        **given,
    }
    arrays = [columns.get(field.name, pa.nulls(rows, field.type)) for field in DOCUMENT_ROWS]
    return pa.Table.from_arrays(arrays, schema=DOCUMENT_ROWS)


def _as_text(column: pa.Array) -> pa.Array:
    """A column of any scalar type as text, its empty values as null."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_null(column.type):
        return pa.nulls(len(column), pa.string())
    if pa.types.is_timestamp(column.type):
        column = pc.strftime(column, "%Y-%m-%d")
    if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        return _text(column)[0].cast(pa.string())
    as_text = pc.cast(column, pa.string())
    try:
        as_text.validate(full=True)
    except pa.ArrowInvalid:
        as_text = _text(as_text.cast(pa.binary()))[0].cast(pa.string())
    return pc.if_else(pc.equal(as_text, ""), pa.scalar(None, pa.string()), as_text)


def _text(column: pa.Array) -> tuple[pa.Array, pa.Array]:
    """A text column, and which of its rows are not valid UTF-8 (those become null)."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    plain = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    binary = pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type)
    if plain or not binary:
        text = pc.cast(column, pa.large_string())
        try:
            text.validate(full=True)
            return text, pa.array([False] * len(column), pa.bool_())
        except pa.ArrowInvalid:
            column = text.cast(pa.large_binary())
    decoded: list[str | None] = []
    bad: list[bool] = []
    for value in column.to_pylist():
        try:
            decoded.append(None if value is None else value.decode("utf-8"))
            bad.append(False)
        except UnicodeDecodeError:
            decoded.append(None)
            bad.append(True)
    return pa.array(decoded, pa.large_string()), pa.array(bad, pa.bool_())


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:120]
