"""Every profile model has columns, or is refused with the type that has none."""

import datetime
from enum import Enum, IntEnum, StrEnum
from typing import Annotated, Any, Literal

import pyarrow as pa
import pytest
from hypothesis import given
from pydantic import BaseModel, Field

from extraction.errors import OperatorError
from extraction.merging.evidence import Evidence, Observation
from extraction.merging.resolve import resolve
from extraction.schema.arrow_types import struct_of, type_of
from extraction.schema.company import CompanyProfile, ShortProfile
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


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (str, pa.string()),
        (bool, pa.bool_()),
        (int | None, pa.int64()),
        (float, pa.float64()),
        (datetime.date | None, pa.string()),
        (datetime.datetime, pa.string()),
        (Annotated[str, Field(max_length=3)] | None, pa.string()),
        (Literal["a", "b"], pa.string()),
        (Literal[1, 2] | None, pa.int64()),
        (Literal[None, "a"], pa.string()),
        (Colour, pa.string()),
        (Grade, pa.int64()),
        (list[str], TEXTS),
        (list[str | None] | None, TEXTS),
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
    ("annotation", "named"),
    [
        (dict[str, int], r"dict\[str, int\]"),
        (list[dict[str, int]], r"dict\[str, int\]"),
        (Any, "Any"),
        (int | str, r"int \| str"),
        (Literal["a", 1], "Literal"),
        (tuple[str, int], "tuple"),
        (list, "list"),
        (bytes, "bytes"),
        (Mixed, "Mixed"),
        (None, "None"),
    ],
)
def test_other_annotations_are_refused_by_name(annotation: Any, named: str) -> None:
    with pytest.raises(OperatorError, match=f"is of type .*{named}"):
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
    row = profile.model_dump(mode="json")
    assert pa.Table.from_pylist([row], pa.schema(list(struct_of(Dated)))).to_pylist() == [row]
