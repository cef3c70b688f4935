"""Every profile model has columns, or is refused with the type that has none."""

import datetime
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, NewType
from uuid import UUID

import pyarrow as pa
import pytest
from hypothesis import given
from pydantic import BaseModel, Field, HttpUrl, PastDate, RootModel, SecretStr, TypeAdapter

from extraction.errors import OperatorError
from extraction.merging.evidence import Evidence, Observation
from extraction.merging.publish_decision import resolve
from extraction.schema import arrow_types
from extraction.schema.arrow_types import schema_of
from extraction.schema.company import CompanyProfile, ShortProfile
from extraction.schema.profile_model import struct_of
from tests.extraction.samples import Vineyard, evidence_sets

TEXTS = pa.list_(pa.string())


class Colour(StrEnum):
    RED = "red"


class Grade(IntEnum):
    FIRST = 1


class Mixed(Enum):
    ONE = 1
    TWO = "two"


class Inner(BaseModel):
    name: str
    count: int | None


class Grape(BaseModel):
    colour: str


class Pair(BaseModel):
    name: str
    others: dict[str, int]


def type_of(annotation: Any) -> pa.DataType:
    schema = TypeAdapter(annotation).json_schema(mode="serialization")
    return arrow_types.type_of(schema, schema.get("$defs", {}), "Made.value")


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (str, pa.string()),
        (bool, pa.bool_()),
        (int | None, pa.int64()),
        (float, pa.float64()),
        (int | float, pa.float64()),
        (datetime.date | None, pa.date32()),
        (datetime.datetime, pa.string()),
        (datetime.time, pa.string()),
        (datetime.timedelta, pa.string()),
        (Decimal, pa.string()),
        (UUID, pa.string()),
        (bytes, pa.string()),
        (HttpUrl, pa.string()),
        (Path, pa.string()),
        (PastDate, pa.date32()),
        (NewType("Name", str), pa.string()),
        (RootModel[list[str]], pa.list_(pa.string())),
        (Annotated[str, Field(max_length=3)] | None, pa.string()),
        (Literal["a", "b"], pa.string()),
        (Literal["a"], pa.string()),
        (Literal[1, 2] | None, pa.int64()),
        (Literal[None, "a"], pa.string()),
        (Colour, pa.string()),
        (Grade, pa.int64()),
        (list[str], TEXTS),
        (list[str | None] | None, TEXTS),
        (list[datetime.date], pa.list_(pa.date32())),
        (set[str], TEXTS),
        (tuple[str, ...], TEXTS),
        (tuple[str, str], TEXTS),
        (list[list[int]], pa.list_(pa.list_(pa.int64()))),
        (Inner | None, pa.struct([("name", pa.string()), ("count", pa.int64())])),
        (list[Inner], pa.list_(pa.struct([("name", pa.string()), ("count", pa.int64())]))),
    ],
)
def test_annotations_have_column_types(annotation: Any, expected: pa.DataType) -> None:
    assert type_of(annotation) == expected


@pytest.mark.parametrize(
    ("annotation", "what"),
    [
        (dict[str, int], "Made.value is a mapping of any keys"),
        (list[dict[str, int]], r"Made.value\[\] is a mapping of any keys"),
        (Any, "Made.value is of no type"),
        (int | str, "Made.value is of several types"),
        (Literal["a", 1], "Made.value is of several types"),
        (tuple[str, int], "Made.value is of several types"),
        (list, "Made.value is a list of anything|Made.value.* no type"),
        (Mixed, "Made.value is of several types"),
        (None, "Made.value is"),
        (Inner | Grape, "Made.value is one of several models"),
        (SecretStr, "Made.value is a secret"),
        (Pair, r"Made.value.others is a mapping of any keys"),
    ],
)
def test_other_annotations_are_refused_by_name_and_with_a_remedy(annotation: Any, what: str) -> None:
    with pytest.raises(OperatorError, match=f"{what}.*, which is no Parquet column: [a-z]"):
        type_of(annotation)


class Branch(BaseModel):
    name: str
    branches: list["Branch"]


def test_a_model_that_holds_itself_is_refused() -> None:
    with pytest.raises(OperatorError, match="Branch holds itself"):
        struct_of(Branch)


@pytest.mark.parametrize("model", [CompanyProfile, ShortProfile, Vineyard])
def test_profiles_have_a_column_for_each_field_in_order(model: type[BaseModel]) -> None:
    about_answer = {"about", "kind", "quotes"}
    assert struct_of(model).names == [name for name in model.model_fields if name not in about_answer]


@pytest.mark.parametrize("model", [CompanyProfile, ShortProfile])
def test_an_empty_profile_comes_back_from_a_table(model: type[BaseModel]) -> None:
    schema = pa.schema(list(struct_of(model)))
    nothing = resolve(model, Evidence()).values
    assert pa.Table.from_pylist([nothing], schema).to_pylist() == [nothing]
    assert pa.Table.from_pylist([], schema).schema == schema


@given(evidence_sets)
def test_whatever_is_resolved_comes_back_from_a_table(evidence: frozenset[Observation]) -> None:
    values = resolve(Vineyard, Evidence(evidence)).values
    table = pa.Table.from_pylist([values], pa.schema(list(struct_of(Vineyard))))
    (row,) = table.to_pylist()
    plots = [{"hectares": None, **plot} for plot in values["plots"]]
    assert row == {**values, "plots": plots}


class Dated(BaseModel):
    day: datetime.date | None
    at: datetime.datetime | None
    tags: set[str] | None
    grade: Grade | None


def test_dates_sets_and_enumerations_come_back_from_a_table() -> None:
    at = datetime.datetime(2024, 5, 1, 9, tzinfo=datetime.UTC)
    profile = Dated(day=datetime.date(2024, 5, 1), at=at, tags={"a"}, grade=Grade.FIRST)
    row = arrow_types.in_column(profile.model_dump(mode="json"), struct_of(Dated))
    (read,) = pa.Table.from_pylist([row], pa.schema(list(struct_of(Dated)))).to_pylist()
    assert read == {"day": profile.day, "at": "2024-05-01T09:00:00Z", "tags": ["a"], "grade": 1}
    assert Dated.model_validate(read) == profile


@dataclass
class Part:
    size: Annotated[Annotated[int, pa.int32()], "How large it is"]


@dataclass
class Whole:
    name: Annotated[str | None, "What it is called"]
    colour: Colour | None
    parts: tuple[Part, ...]
    scores: tuple[tuple[float, ...], ...] = ()


def test_a_dataclass_has_the_columns_that_its_fields_say() -> None:
    name, colour, parts, scores = schema_of(Whole)
    assert (name.type, name.metadata) == (pa.string(), {b"description": b"What it is called"})
    assert (colour.type, colour.metadata) == (pa.string(), None)
    assert parts.type == pa.list_(pa.struct([("size", pa.int32())]))
    assert parts.type.value_type[0].metadata == {b"description": b"How large it is"}
    assert scores.type == pa.list_(pa.list_(pa.float64()))
