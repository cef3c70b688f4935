"""Columns of the input as text: what a value of each Arrow type means as an id, in a line of words, as a date.

An id is the same text in all files, whatever type each of them has for it: 7, 7.0 and 7.00 are `7`. A type that
means nothing is refused by `refusal`; a value that means nothing becomes null, and `ColumnValues.unclear` says why.
"""

import contextlib
import datetime
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from extraction.config.settings import EpochUnit
from extraction.grounding.text_folding import ascii_digits

Role = Literal["text", "id", "words", "date"]
COLUMN_ROLES: Mapping[str, Role] = {
    "text": "text",
    "document_id": "id",
    "company_id": "id",
    "document_date": "date",
}
EXACT = {16: 2**11, 32: 2**24, 64: 2**53}  # by bits of a float: from there on some whole numbers are missing
PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
EPOCH = datetime.datetime(1970, 1, 1)
DAY = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?:[T ]\d\d.*)?", re.DOTALL)
COMPACT_DAY = re.compile(r"((?:1[89]|2[01])\d\d)(\d\d)(\d\d)(?:T\d{4}.*)?")
YEAR_OR_MONTH = re.compile(r"\d{4}(-(0[1-9]|1[0-2]))?")
MOST_SHOWN = 40  # characters of a value; a longer one may be a document's text


@dataclass
class ColumnValues:
    """A column as text, null where a value is missing or means nothing; `unclear` has the rows of the latter."""

    texts: pa.Array
    unclear: dict[int, str] = field(default_factory=dict)


def role_of(name: str) -> Role:
    """What a column of the settings is read as."""
    return COLUMN_ROLES.get(name, "words")


def refusal(name: str, kind: pa.DataType) -> str | None:
    """Why no value of a type can be read as this column of the settings; None where they can."""
    stored, role = _stored(kind), role_of(name)
    text = _is_text(stored) or _is_bytes(stored) or pa.types.is_null(stored)
    number = pa.types.is_integer(stored) or pa.types.is_floating(stored) or pa.types.is_decimal(stored)
    time = pa.types.is_date(stored) or pa.types.is_timestamp(stored)
    allowed = {
        "text": text,
        "date": text or number or time,
        "id": text or number or time or _is_uuid(stored),
        "words": text or number or time or _is_uuid(stored) or pa.types.is_boolean(stored),
    }
    expected = {"text": "text", "date": "a date", "id": "text or a number", "words": "text or a number"}
    return None if allowed[role] else f"is {kind}, and {expected[role]} is expected"


def read_text(column: pa.Array) -> tuple[pa.Array, pa.Array]:
    """A column of documents' texts, and which of its rows are not valid UTF-8 (those become null)."""
    decoded, bad = _utf8(_plain(column))
    invalid = pa.array([row in bad for row in range(len(column))] if bad else [False] * len(column), pa.bool_())
    return decoded, invalid


def read_values(name: str, column: pa.Array, epoch_unit: EpochUnit | None = None) -> ColumnValues:
    """A column as the texts that its values mean for a column of the settings; those of nothing but white space are
    null."""
    role, column = role_of(name), _plain(column)
    if role == "date":
        return _dates(column, epoch_unit)
    values = _texts(column, as_hex=role == "id")
    blank = pc.equal(pc.utf8_trim_whitespace(values.texts), "")
    return ColumnValues(pc.if_else(blank, pa.scalar(None, pa.string()), values.texts), values.unclear)


def _stored(kind: pa.DataType) -> pa.DataType:
    """The type that values have beneath dictionaries, runs, and extensions other than UUIDs."""
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return _stored(kind.value_type)
    if isinstance(kind, pa.BaseExtensionType) and not _is_uuid(kind):
        return _stored(kind.storage_type)
    return kind


def _plain(column: pa.Array) -> pa.Array:
    """The column of that type."""
    if pa.types.is_dictionary(column.type):
        return _plain(column.dictionary_decode())
    if pa.types.is_run_end_encoded(column.type):
        return _plain(pc.run_end_decode(column))
    if isinstance(column.type, pa.BaseExtensionType) and not _is_uuid(column.type):
        return _plain(column.storage)
    return column


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_bytes(kind: pa.DataType) -> bool:
    plain = pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)
    return bool(plain or pa.types.is_fixed_size_binary(kind))


def _is_uuid(kind: pa.DataType) -> bool:
    return getattr(kind, "extension_name", None) == "arrow.uuid"


def _utf8(column: pa.Array) -> tuple[pa.Array, set[int]]:
    """Text or bytes as text, and the rows that are not valid UTF-8 (null)."""
    if pa.types.is_null(column.type):
        return pa.nulls(len(column), pa.large_string()), set()
    if _is_text(column.type):
        text = column.cast(pa.large_string())
        try:
            text.validate(full=True)
            return text, set()
        except pa.ArrowInvalid:
            column = text.cast(pa.large_binary())
    decoded: list[str | None] = []
    bad: set[int] = set()
    for row, value in enumerate(column.to_pylist()):
        try:
            decoded.append(None if value is None else value.decode("utf-8"))
        except UnicodeDecodeError:
            decoded.append(None)
            bad.add(row)
    return pa.array(decoded, pa.large_string()), bad


def _texts(column: pa.Array, *, as_hex: bool) -> ColumnValues:
    kind = column.type
    if _is_uuid(kind):
        return _each(column.storage, lambda value: str(uuid.UUID(bytes=value)))
    if _is_bytes(kind) and as_hex:
        return _each(column, bytes.hex)
    if _is_text(kind) or _is_bytes(kind) or pa.types.is_null(kind):
        text, bad = _utf8(column)
        return ColumnValues(text.cast(pa.string()), dict.fromkeys(sorted(bad), "is not valid UTF-8"))
    if pa.types.is_floating(kind):
        exact, shown = EXACT[kind.bit_width], column.cast(pa.string()).to_pylist()
        return _each(column, lambda value, row: _number(value, shown[row], exact), numbered=True)
    if pa.types.is_decimal(kind):
        return _each(column, _decimal)
    if pa.types.is_timestamp(kind):
        return _each(_in_utc(column), lambda value: _moment(value, "Z" if kind.tz else ""))
    if pa.types.is_date(kind):
        return _each(column.cast(pa.date32()).cast(pa.string()), _day)
    return ColumnValues(column.cast(pa.string()))


class _Unclear(ValueError):
    """A value that means nothing."""


def _each(column: pa.Array, read: Callable[..., str | None], *, numbered: bool = False) -> ColumnValues:
    """Each value that is there, as it reads."""
    texts: list[str | None] = []
    unclear: dict[int, str] = {}
    for row, value in enumerate(column.to_pylist()):
        try:
            texts.append(None if value is None else read(value, row) if numbered else read(value))
        except _Unclear as error:
            texts.append(None)
            unclear[row] = str(error)
    return ColumnValues(pa.array(texts, pa.string()), unclear)


def _number(value: float, shown: str, exact: int) -> str | None:
    """A whole number as its digits. NaN is missing; one too large to differ from its neighbours means nothing."""
    if value != value:
        return None
    if abs(value) >= exact:
        raise _Unclear(f"{value:g} is a float that can't hold so large a number exactly")
    return str(int(value)) if value == int(value) else shown


def _decimal(value: Decimal) -> str:
    text = f"{value:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text


def _in_utc(column: pa.Array) -> pa.Array:
    """Timestamps as text, those with a zone in UTC."""
    return column.cast(pa.timestamp(column.type.unit)).cast(pa.string())


def _moment(text: str, zone: str) -> str:
    if not DAY.fullmatch(text):
        raise _Unclear("its year is out of range")
    text = text.replace(" ", "T")
    return (text.rstrip("0").rstrip(".") if "." in text else text) + zone


def _day(text: str) -> str:
    """The date of a text that begins with one, in a form of ISO 8601: as it is written, whatever its zone."""
    text = ascii_digits(text.strip())
    if YEAR_OR_MONTH.fullmatch(text):
        return text
    written = DAY.fullmatch(text) or COMPACT_DAY.fullmatch(text)
    try:
        return datetime.date(*map(int, written.groups())).isoformat() if written else _week(text)
    except ValueError:
        shown = repr(text) if len(text) <= MOST_SHOWN else f"a text of {len(text):,} characters"
        raise _Unclear(f"{shown} is no date of a known form") from None


def _week(text: str) -> str:
    """The date of `2024-W18-3`, the last form of ISO 8601. Raises ValueError for any other text."""
    if "W" not in text:
        raise ValueError
    return datetime.date.fromisoformat(text).isoformat()


def _dates(column: pa.Array, epoch_unit: EpochUnit | None) -> ColumnValues:
    if pa.types.is_timestamp(column.type):
        try:
            column = pc.local_timestamp(column) if column.type.tz else column
        except pa.ArrowInvalid:  # a zone that this machine does not know
            column = column.cast(pa.timestamp(column.type.unit))
        return _each(column.cast(pa.string()), _day)
    written = _is_text(column.type) or _is_bytes(column.type)
    if pa.types.is_floating(column.type):
        column = pa.array([_whole(value) for value in column.to_pylist()], pa.string())
    values = _texts(column, as_hex=False)
    dates = _each(values.texts, lambda text: _dated(text, epoch_unit, written=written) if text.strip() else None)
    return ColumnValues(dates.texts, values.unclear | dates.unclear)


def _whole(value: float | None) -> str | None:
    """A float as a date's digits: it need not be exact to say a day."""
    if value is None or value != value:
        return None
    return str(int(value)) if abs(value) < 1e30 and value == int(value) else str(value)


def _dated(text: str, epoch_unit: EpochUnit | None, *, written: bool) -> str:
    """The date of a text, or of a number since 1970 where there is a unit for it; what is `written` as a date in a
    column of texts is one all the same."""
    if written:
        with contextlib.suppress(_Unclear):
            return _day(text)
    try:
        since = float(text) if epoch_unit else None
    except ValueError:
        since = None
    if since is None or epoch_unit is None:
        return _day(text)
    try:
        return (EPOCH + datetime.timedelta(seconds=since / PER_SECOND[epoch_unit])).date().isoformat()
    except (OverflowError, ValueError):
        raise _Unclear(f"{text[:MOST_SHOWN]} {epoch_unit} since 1970 is no date") from None
