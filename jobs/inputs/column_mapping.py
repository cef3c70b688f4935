"""Maps columns of the input to those that the project reads, by their names in the settings.

columns_of(schema, "year=2025/part.parquet", Columns(text="body"))   # how one file is read
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import pyarrow as pa

from extraction.config.settings import Columns
from jobs.inputs.column_types import refusal
from jobs.inputs.file_discovery import keys_in

REQUIRED = ("document_id", "text")
OPTIONAL = ("company_id", "title", "url", "document_type", "document_date", "company_name", "website")
# A file in which one of these can't be read would be read as something else.
KEY_COLUMNS = (*REQUIRED, "company_id")
Reasons = dict[str, str]  # by name in the settings, why a column is left out


@dataclass(frozen=True)
class FileColumns:
    """How a file's columns are read: `mapped` has their names in the file, `from_path` values from its path, by
    names in the settings. `left_out` are optional ones that can't be read; `refused` says why the file can't."""

    url: str
    names: tuple[str, ...]
    mapped: Mapping[str, str]
    from_path: Mapping[str, str | None]
    left_out: Reasons
    refused: str | None


def columns_of(schema: pa.Schema, url: str, columns: Columns) -> FileColumns:
    """How the columns of a file are read. Of a key in its path and a column of the same name the column counts."""
    keys = keys_in(url)
    mapped: dict[str, str] = {}
    from_path: dict[str, str | None] = {}
    left_out: Reasons = {}
    refused: str | None = None
    for name in (*REQUIRED, *OPTIONAL):
        column = getattr(columns, name)
        places = schema.get_all_field_indices(column)
        if len(places) == 1:
            why = refusal(name, schema.field(places[0]).type)
        elif places:
            why = f"is there {len(places)} times"
        elif column in keys:
            from_path[name], why = keys[column], None
            continue
        else:
            continue
        if why is None:
            mapped[name] = column
        elif name in KEY_COLUMNS:
            refused = refused or f"column {column!r} {why}: --set columns.{name}=COLUMN names another"
        else:
            left_out[name] = why
    absent = [name for name in REQUIRED if name not in mapped and name not in from_path]
    if absent and not refused:
        wanted = [getattr(columns, name) for name in absent]
        missing = " and no column ".join(f"{column!r}{_meant(column, schema.names)}" for column in wanted)
        flags = " ".join(f"--set columns.{name}=COLUMN" for name in absent)
        them = "it" if len(absent) == 1 else "them"
        more = "" if "company_id" in {*mapped, *from_path} else ", and columns.company_id if one tells the company"
        refused = f"there is no column {missing} among {', '.join(schema.names)}: map {them} with {flags}{more}"
    return FileColumns(url, tuple(schema.names), mapped, from_path, left_out, refused)


def _meant(column: str, names: Iterable[str]) -> str:
    """What may be meant by a column that is not there: one that differs by case and the like, or by a letter."""
    alike = _alike(column, names) or get_close_matches(column, list(names), 1, 0.75)
    return f" (did you mean {alike[0]!r}?)" if alike else ""


def _alike(column: str, names: Iterable[str]) -> list[str]:
    return [name for name in dict.fromkeys(names) if _bare(name) == _bare(column)]


def _bare(name: str) -> str:
    return "".join(filter(str.isalnum, name.casefold()))


def column_notes(files: Sequence[FileColumns], columns: Columns) -> tuple[dict[str, str], list[str]]:
    """The columns that the settings name and no file has, and what is odd in others, in words."""
    absent: dict[str, str] = {}
    notes: list[str] = []
    for name in OPTIONAL:
        column = getattr(columns, name)
        without = [f for f in files if not {name} & {*f.mapped, *f.from_path, *f.left_out}]
        names = dict.fromkeys(each for file in without for each in (*file.names, *keys_in(file.url)))
        alike = _alike(column, names)
        means = "each document is a company of its own" if name == "company_id" else "it is not read"
        if len(without) == len(files):
            if column != Columns.model_fields[name].default:
                absent[name] = (
                    f"columns.{name} = {column}: there is no such column{_meant(column, names)}, but "
                    f"{', '.join(names)}"
                )
            elif alike:
                notes.append(f"there is no column {column!r}, but {alike[0]!r}: --set columns.{name}={alike[0]}")
            elif name == "company_id":
                notes.append(f"there is no column {column!r}: {means}")
        elif without:
            hint = f", which has {alike[0]!r}" if alike else ""
            notes.append(
                f"{len(without):,} of {len(files):,} files have no column {column!r}, such as "
                f"{without[0].url}{hint}: there {means}"
            )
        for why, held in _by_reason(files, name).items():
            notes.append(f"column {column!r} {why} in {len(held):,} of {len(files):,} files, such as {held[0]}: "
                         "it is left out there")  # fmt: skip
    return absent, notes


def _by_reason(files: Sequence[FileColumns], name: str) -> dict[str, list[str]]:
    files_by_reason: dict[str, list[str]] = defaultdict(list)
    for file in files:
        if name in file.left_out:
            files_by_reason[file.left_out[name]].append(file.url)
    return files_by_reason
