"""The input: Parquet files looked over by their footers, then read piece by piece into document rows.

What is odd in a file costs no more than itself: a column that can be done without is left out, a row group that
can't be read is lost, a file without an id, a company or a text that can be read is a dead letter. The run's
notes list all of it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from extraction.config.settings import Columns
from extraction.documents import DeadLetter
from extraction.errors import Fault, OperatorError, one_line
from jobs.inputs.column_mapping import (
    KEY_COLUMNS,
    OPTIONAL,
    REQUIRED,
    FileColumns,
    Reasons,
    column_notes,
    columns_of,
)
from jobs.inputs.column_types import read_text, read_values
from jobs.inputs.file_discovery import files_at, is_broken_link
from jobs.state.parquet_schemas import DOCUMENT_ROWS
from jobs.state.storage import in_threads, is_outage, open_file, with_remedy

ROWS_PER_BATCH = 1_000
BYTES_PER_BATCH = 16 << 20  # of rows that are handed on together; a larger row is alone
ROWS_PER_STEP = 16  # rows decoded at a time: a few bytes of a file may stand for a large text in each of them


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
    """What a run reads: its parts in order, and the files that can't be read. `notes` tell what is odd in columns,
    `absent` has a complaint for each column that the settings name and no file has."""

    parts: tuple[RowGroup, ...]
    dead_letters: tuple[DeadLetter, ...]
    notes: tuple[str, ...] = ()
    absent: Mapping[str, str] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Number of rows, each a document or a dead letter."""
        return sum(part.rows for part in self.parts)

    @property
    def bytes(self) -> int:
        """Size of the row groups that it is in, not compressed."""
        return sum(part.bytes for part in self.parts)

    @property
    def dead_documents(self) -> int:
        """Documents in the files that can't be read, as far as they are known."""
        return sum(letter.documents for letter in self.dead_letters)


@dataclass(frozen=True)
class FoundFile:
    """What a file's footer tells."""

    columns: FileColumns
    parts: tuple[RowGroup, ...]
    rows: int


def find_input(inputs: Sequence[str], columns: Columns, limit: int | None = None) -> Input:
    """Find the input's Parquet files and read their footers; `limit` keeps the first documents only.

    Raises OperatorError when there is no Parquet file, none that can be read, or a column that the settings name is
    in none.
    """
    documents = look_over([url for given in inputs for url in files_at(given)], columns, limit)
    for message in documents.absent.values():
        raise OperatorError(message)
    return documents


def look_over(urls: Sequence[str], columns: Columns, limit: int | None = None) -> Input:
    """The same for files that are already found, at least one; columns that are in none are only reported."""
    looked = in_threads(lambda url: _look_over(url, columns), dict.fromkeys(urls))
    files = [one for one in looked if isinstance(one, FoundFile)]
    good = [file for file in files if not file.columns.refused]
    if not good:
        bad = _dead_letter(looked[0])
        raise OperatorError(f"{bad.source_path}: {bad.message}")
    parts: list[RowGroup] = []
    dead: list[DeadLetter] = []
    left = limit
    for one in looked:
        if left is not None and left <= 0:
            break
        if isinstance(one, FoundFile) and not one.columns.refused:
            kept = list(_first(one.parts, left))
            parts += kept
            left = None if left is None else left - sum(part.rows for part in kept)
        else:
            letter = _dead_letter(one)
            letter = letter if left is None else replace(letter, documents=min(left, letter.documents))
            dead.append(letter)
            left = None if left is None else left - letter.documents
    absent, notes = column_notes([file.columns for file in good], columns)
    return Input(tuple(parts), tuple(dead), tuple(notes), absent)


def _look_over(url: str, columns: Columns) -> FoundFile | DeadLetter:
    """What the footer of one file tells; a dead letter where it can't be read."""
    try:
        with open_file(url) as file:
            parquet = _parquet(file)
            schema, footer = parquet.schema_arrow, parquet.metadata
            groups = [footer.row_group(n) for n in range(footer.num_row_groups)]
    except PermissionError as error:
        raise OperatorError(f"{url} can't be read: {with_remedy(error)}") from None
    except (pa.ArrowException, OSError) as error:
        broken = is_broken_link(url)
        if is_outage(error) and not broken:
            raise
        why = (
            "this link leads nowhere"
            if broken
            else f"this is no readable Parquet file ({one_line(str(error), 120)})"
        )
        return DeadLetter(None, url, "plan", Fault.UNREADABLE, why)
    starts = np.cumsum([0, *(group.num_rows for group in groups)]).tolist()
    parts = [RowGroup(url, n, starts[n], g.num_rows, g.total_byte_size) for n, g in enumerate(groups) if g.num_rows]
    return FoundFile(columns_of(schema, url, columns), tuple(parts), starts[-1])


def _parquet(file: Any) -> pq.ParquetFile:
    """A Parquet file; days far from ours, which Spark writes as INT96, do not fit in nanoseconds. Arrow makes
    dictionaries with numbers of another size than 32 bits of valid UTF-8 only."""
    parquet = pq.ParquetFile(file, coerce_int96_timestamp_unit="us")
    names = [field.name for field in parquet.schema_arrow if pa.types.is_dictionary(field.type)]
    if not names:
        return parquet
    return pq.ParquetFile(file, metadata=parquet.metadata, coerce_int96_timestamp_unit="us", read_dictionary=names)


def _dead_letter(file: FoundFile | DeadLetter) -> DeadLetter:
    if isinstance(file, DeadLetter):
        return file
    why = file.columns.refused or ""
    return DeadLetter(None, file.columns.url, "plan", Fault.UNREADABLE, why, documents=file.rows)


def _first(parts: Sequence[RowGroup], limit: int | None) -> Iterator[RowGroup]:
    left = limit
    for part in parts:
        if left is None:
            yield part
        elif left > 0:
            yield replace(part, rows=min(left, part.rows))
            left -= part.rows


def document_rows(parts: Iterable[RowGroup], columns: Columns) -> Iterator[pa.Table]:
    """The rows of parts as DOCUMENT_ROWS, each file opened once; one row with `unreadable` set stands for those of
    a row group that can't be read."""
    for url, group in groupby(parts, key=lambda part: part.url):
        together = list(group)
        try:
            with open_file(url) as file:
                reader = FileReader(_parquet(file), url, columns)
                for part in together:
                    yield from reader.rows_of(part)
        except (pa.ArrowException, OSError) as error:  # the file has changed since it was looked over
            if is_outage(error):
                raise
            yield from (_lost(part, 0, error) for part in together)


class FileReader:
    """Reads document rows from one Parquet file."""

    def __init__(self, parquet: pq.ParquetFile, url: str, columns: Columns) -> None:
        self.parquet, self.url, self.settings = parquet, url, columns
        self.columns = columns_of(parquet.schema_arrow, url, columns)

    def rows_of(self, part: RowGroup) -> Iterator[pa.Table]:
        """The rows of a part. An optional column that can't be read is left out of what is left of it."""
        done, broken = 0, dict[str, str]()
        while done < part.rows:
            try:
                for batch in self._batches(part, done, broken):
                    yield self._document_rows(batch, part, done, broken)
                    done += batch.num_rows
                return
            except (pa.ArrowException, OSError) as error:
                if is_outage(error):
                    raise
                newly_broken = self._broken(part, broken)
                if not newly_broken:
                    yield _lost(part, done, error)
                    return
                broken |= newly_broken

    def _batches(self, part: RowGroup, done: int, broken: Reasons) -> Iterator[pa.RecordBatch]:
        """The part's rows after the first `done`, as many together as their decoded size allows."""
        wanted = sorted({column for name, column in self.columns.mapped.items() if name not in broken})
        if not wanted:  # all of it stands in the path
            yield pa.RecordBatch.from_struct_array(pa.array([{}] * (part.rows - done), pa.struct([])))
            return
        held: list[pa.RecordBatch] = []
        size, seen = 0, 0
        for step in self.parquet.iter_batches(
            self._rows_decoded(wanted), row_groups=[part.row_group], columns=wanted
        ):
            first, end = max(0, done - seen), min(len(step), part.rows - seen)
            seen += len(step)
            for piece in _pieces(step.slice(first, max(0, end - first))):
                if held and (size + piece.nbytes > BYTES_PER_BATCH or sum(map(len, held)) >= ROWS_PER_BATCH):
                    yield pa.concat_batches(held)
                    held, size = [], 0
                held.append(piece)
                size += piece.nbytes
            if seen >= part.rows:
                break
        if held:
            yield pa.concat_batches(held)

    def _rows_decoded(self, wanted: Sequence[str]) -> int:
        """How many rows are read at a time: few, but where they are dictionaries, which come whole each time."""
        kinds = (self.parquet.schema_arrow.field(column).type for column in wanted)
        return ROWS_PER_BATCH if any(map(pa.types.is_dictionary, kinds)) else ROWS_PER_STEP

    def _broken(self, part: RowGroup, known: Reasons) -> Reasons:
        """The optional columns of a part that can't be read, each with the reason."""
        reasons: Reasons = {}
        for name, column in self.columns.mapped.items():
            if name in KEY_COLUMNS or name in known:
                continue
            try:
                for _ in self.parquet.iter_batches(ROWS_PER_STEP, row_groups=[part.row_group], columns=[column]):
                    pass
            except (pa.ArrowException, OSError) as error:
                if is_outage(error):
                    raise
                reasons[name] = f"can't be read ({one_line(str(error), 120)})"
        return reasons

    def _document_rows(self, batch: pa.RecordBatch, part: RowGroup, done: int, broken: Reasons) -> pa.Table:
        rows, mapped, unclear = batch.num_rows, self.columns.mapped, dict[int, list[dict[str, str]]]()
        texts = {name: pa.array([value] * rows, pa.string()) for name, value in self.columns.from_path.items()}
        for name in (*REQUIRED, *OPTIONAL):
            if name == "text" or name in broken or name not in {*mapped, *texts}:
                continue
            column = batch[mapped[name]] if name in mapped else texts[name]
            values = read_values(name, column, self.settings.epoch_unit)
            texts[name] = values.texts
            for row, why in values.unclear.items():
                unclear.setdefault(row, []).append({"column": name, "why": why})
        for name, why in broken.items():
            for row in range(rows):
                unclear.setdefault(row, []).append({"column": name, "why": why})
        text, not_text = read_text(batch[mapped["text"]] if "text" in mapped else texts["text"])
        number = pa.array(range(part.first_row + done, part.first_row + done + rows), pa.int64())
        source = pa.array([part.url] * rows, pa.string())
        nameless = pc.binary_join_element_wise(source, pc.cast(number, pa.string()), "#row=")
        company = texts.pop("company_id", pa.nulls(rows, pa.string()))
        columns = {
            **texts,
            "company_id": pc.coalesce(company, texts["document_id"], nameless),
            "text": text,
            "source_path": source,
            "row": number,
            "not_text": not_text,
            "unclear": pa.array([unclear.get(row) for row in range(rows)], DOCUMENT_ROWS.field("unclear").type),
        }
        arrays = [columns.get(field.name, pa.nulls(rows, field.type)) for field in DOCUMENT_ROWS]
        return pa.Table.from_arrays(arrays, schema=DOCUMENT_ROWS)


def _lost(part: RowGroup, done: int, error: Exception) -> pa.Table:
    """The row that stands for those of a part that can't be read."""
    first, last = part.first_row + done, part.first_row + part.rows - 1
    row: dict[str, Any] = dict.fromkeys(DOCUMENT_ROWS.names)
    row |= {
        "company_id": part.url,
        "source_path": part.url,
        "row": first,
        "unreadable": f"rows {first} to {last} can't be read ({one_line(str(error), 120)})",
        "lost_rows": part.rows - done,
    }
    return pa.Table.from_pylist([row], DOCUMENT_ROWS)


def _pieces(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """A batch in pieces of few rows, their dictionaries decoded; one that is large all the same row by row."""
    for first in range(0, len(batch), ROWS_PER_STEP):
        piece = batch.slice(first, ROWS_PER_STEP)
        for number, column in enumerate(piece.columns):
            if pa.types.is_dictionary(column.type):
                piece = piece.set_column(number, piece.schema.names[number], column.dictionary_decode())
        rows = 1 if piece.nbytes > BYTES_PER_BATCH else ROWS_PER_STEP
        yield from (piece.slice(row, rows) for row in range(0, len(piece), rows))


def unclear_notes(counted: Iterable[Mapping[str, Any]], columns: Columns) -> list[str]:
    """What values of the input mean nothing, in words: from mappings of `column`, `why`, `place` and `rows`."""
    rows: Counter[str] = Counter()
    examples: dict[str, str] = {}
    for each in counted:
        rows[each["column"]] += each["rows"]
        examples.setdefault(each["column"], f"such as {each['place']}: {each['why']}")
    return [
        f"column {getattr(columns, name)!r} means nothing in {count:,} documents and is left out there, "
        f"{examples[name]}{REMEDIES.get(name, '')}"
        for name, count in sorted(rows.items())
    ]


REMEDIES = {
    "document_date": ". A date is written as YYYY-MM-DD or 20240501; numbers since 1970 take columns.epoch_unit",
}
