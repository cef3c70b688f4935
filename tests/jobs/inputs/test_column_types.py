"""A value means the same text whatever type its file has for it; what means nothing is refused or told."""

import datetime
import uuid
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extraction.config.settings import EpochUnit
from jobs.inputs.column_types import read_text, read_values, refusal

DAY = datetime.date(2024, 5, 1)
NOON = datetime.datetime(2024, 5, 1, 12)
ID = uuid.UUID("247a5808-b6bd-431c-bbe9-3693b6615000")


def ids(column: pa.Array) -> list[str | None]:
    read: list[str | None] = read_values("document_id", column).texts.to_pylist()
    return read


def dates(column: pa.Array, unit: EpochUnit | None = None) -> list[str | None]:
    read: list[str | None] = read_values("document_date", column, unit).texts.to_pylist()
    return read


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([7, None], pa.int8()), ["7", None]),
        (pa.array([7.0, None, float("nan"), 1.5, -0.0]), ["7", None, None, "1.5", "0"]),
        (pa.array([7, 1.1], pa.float32()), ["7", "1.1"]),
        (pa.array([Decimal("7.00"), Decimal("-0.00"), Decimal("7.50")], pa.decimal128(9, 2)), ["7", "0", "7.5"]),
        (pa.array([Decimal("700")], pa.decimal128(5, -2)), ["700"]),
        (pa.array([Decimal("1" * 38)], pa.decimal128(38, 0)), ["1" * 38]),
        (pa.array([7, None, 7], pa.uint64()).dictionary_encode(), ["7", None, "7"]),
        (pa.array(["a", "", None], pa.string_view()), ["a", None, None]),
        (pa.array([ID.bytes, None], pa.uuid()), [str(ID), None]),
        (pa.array([b"\xff\x01", b"", None]), ["ff01", None, None]),
        (pa.array([b"ab"], pa.binary(2)), ["6162"]),
        (pa.array([DAY]), ["2024-05-01"]),
        (pa.array([NOON], pa.timestamp("s")), ["2024-05-01T12:00:00"]),
        (pa.array([NOON], pa.timestamp("ns", "America/New_York")), ["2024-05-01T12:00:00Z"]),
        (pa.nulls(2), [None, None]),
    ],
)
def test_ids(column: pa.Array, expected: list[str | None]) -> None:
    assert refusal("document_id", column.type) is None
    assert ids(column) == expected
    assert read_values("company_id", column).unclear == {}


@pytest.mark.parametrize("name", ["document_id", "company_id", "company_name", "title"])
def test_white_space_is_no_value(name: str) -> None:
    column = pa.array([" ", "\t\r\n", "\u00a0", "\u3000 ", " a "])
    read = read_values(name, column)
    assert (read.texts.to_pylist(), read.unclear) == ([None] * 4 + [" a "], {})


@given(st.lists(st.none() | st.integers(-(2**31), 2**31)))
def test_a_whole_number_is_one_id_in_all_types(numbers: list[int | None]) -> None:
    kinds = (pa.int64(), pa.float64(), pa.decimal128(22, 3), pa.decimal256(40, 0))
    read = [ids(pa.array(numbers, pa.int64()).cast(kind)) for kind in kinds]
    assert all(one == [None if n is None else str(n) for n in numbers] for one in read)


@pytest.mark.parametrize(
    ("column", "why"),
    [
        (pa.array([2.0**53]), "can't hold so large a number exactly"),
        (pa.array([2.0**24], pa.float32()), "can't hold"),
        (pa.array(np.array([2048], np.float16)), "can't hold"),
        (pa.array([float("inf")]), "inf is a float"),
        (pa.array([10**18], pa.timestamp("us")), "its year is out of range"),
    ],
)
def test_an_id_that_means_nothing_is_told(column: pa.Array, why: str) -> None:
    read = read_values("company_id", column)
    assert read.texts.to_pylist() == [None]
    assert why in read.unclear[0]


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("2024", "2024"),
        ("2024-05", "2024-05"),
        (" 2024-05-01 ", "2024-05-01"),
        ("2024-05-01T23:30:00-07:00", "2024-05-01"),
        ("2024-05-01 12:00:00.123456789 UTC", "2024-05-01"),
        ("20240501", "2024-05-01"),
        ("20240501T120000Z", "2024-05-01"),
        ("2024-W18-3", "2024-05-01"),
        ("２０２４", "2024"),
        ("٢٠٢٤-٠٥", "2024-05"),
        ("२०२४-०५-०१", "2024-05-01"),
        ("", None),
        (" ", None),
    ],
)
def test_a_date_in_a_form_of_iso(text: str, date: str | None) -> None:
    column = pa.array([text, None])
    assert dates(column) == dates(column.dictionary_encode()) == dates(column.cast(pa.binary())) == [date, None]
    assert read_values("document_date", column).unclear == {}


@pytest.mark.parametrize(
    ("column", "unit", "date"),
    [
        (pa.array([DAY]), None, "2024-05-01"),
        (pa.array([DAY], pa.date64()), None, "2024-05-01"),
        (pa.array([NOON], pa.timestamp("ns")), None, "2024-05-01"),
        (pa.array([datetime.datetime(2024, 5, 1, 3)], pa.timestamp("ms", "America/New_York")), None, "2024-04-30"),
        (pa.array([NOON], pa.timestamp("ms", "Mars/Olympus")), None, "2024-05-01"),
        (pa.array([datetime.datetime(1969, 12, 31, 23)], pa.timestamp("s")), None, "1969-12-31"),
        (pa.array([datetime.datetime(9999, 12, 31)], pa.timestamp("us")), None, "9999-12-31"),
        (pa.array([20240501]), None, "2024-05-01"),
        (pa.array([20240501.0]), None, "2024-05-01"),
        (pa.array([Decimal("20240501.00")]), None, "2024-05-01"),
        (pa.array([2024], pa.int16()), None, "2024"),
        (pa.array([1_714_521_600]), "s", "2024-05-01"),
        (pa.array([1_714_521_600_000.0]), "ms", "2024-05-01"),
        (pa.array(["1714521600000000"]), "us", "2024-05-01"),
        (pa.array([1_714_521_600_000_000_000]), "ns", "2024-05-01"),
        (pa.array(["2024-05-01"]), "ms", "2024-05-01"),
        (pa.array(["20240501"]), "s", "2024-05-01"),
        (pa.array([b"2024"]).dictionary_encode(), "s", "2024"),
        (pa.array([20240501]), "s", "1970-08-23"),
    ],
)
def test_a_date_of_another_type(column: pa.Array, unit: EpochUnit | None, date: str) -> None:
    assert refusal("document_date", column.type) is None
    assert dates(column, unit) == [date]


@pytest.mark.parametrize(
    "value",
    ["05/01/2024", "31.12.2019", "Wed, 01 May 2024 12:00:00 GMT", "2024-13-01", "2024-02-30", "2024-05-01x",
     "24-05-01", 202405, 45413, 1_714_521_600_000, 12345678, 1.5, "x" * 60],
)  # fmt: skip
def test_any_other_date_is_told_and_not_guessed(value: Any) -> None:
    read = read_values("document_date", pa.array([None, value]))
    assert read.texts.to_pylist() == [None, None]
    said = read.unclear[1]
    assert "is no date of a known form" in said
    assert ("a text of 60 characters" if value == "x" * 60 else str(value)) in said


def test_a_number_since_1970_that_is_no_date_is_told() -> None:
    read = read_values("document_date", pa.array([1e25]), "ms")
    assert (read.texts.to_pylist(), list(read.unclear)) == ([None], [0])


@pytest.mark.parametrize(
    ("kind", "refused"),
    [
        (pa.list_(pa.string()), ("text", "document_id", "company_id", "title", "document_date")),
        (pa.struct([("a", pa.string())]), ("text", "document_id", "title", "document_date")),
        (pa.map_(pa.string(), pa.string()), ("text", "document_id", "title", "document_date")),
        (pa.dictionary(pa.int8(), pa.list_(pa.int8())), ("text", "document_id", "title")),
        (pa.duration("s"), ("text", "document_id", "title", "document_date")),
        (pa.time64("us"), ("text", "document_id", "title", "document_date")),
        (pa.bool_(), ("text", "document_id", "document_date")),
        (pa.int64(), ("text",)),
        (pa.uuid(), ("text", "document_date")),
        (pa.json_(), ()),
    ],
)
def test_a_type_that_means_nothing_is_refused(kind: pa.DataType, refused: tuple[str, ...]) -> None:
    said = {name: refusal(name, kind) for name in ("text", "document_id", "company_id", "title", "document_date")}
    assert {name for name, why in said.items() if why} >= set(refused)
    assert all(str(kind) in (said[name] or "") for name in refused)
    assert refusal("title", pa.bool_()) is None and (refused or not any(said.values()))


def test_text_that_is_not_utf8_is_known_by_its_row() -> None:
    text, bad = read_text(pa.array([b"a", b"\xff", None]))
    assert (text.to_pylist(), bad.to_pylist()) == (["a", None, None], [False, True, False])
    words = read_values("title", pa.array([b"a", b"\xff"]))
    assert (words.texts.to_pylist(), words.unclear) == (["a", None], {1: "is not valid UTF-8"})
