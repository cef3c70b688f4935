"""A user's profile model, whatever it is made of: what is asked for is judged, stored and read back the same, and a
value that the model refuses costs itself."""

import datetime
import json
from collections.abc import Callable
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, NewType
from uuid import UUID

import jsonschema
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import (
    AfterValidator,
    AliasChoices,
    AliasPath,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    EmailStr,
    Field,
    HttpUrl,
    PastDate,
    RootModel,
    create_model,
)
from pydantic.alias_generators import to_camel

from extraction.documents import Piece
from extraction.merging.evidence import Evidence
from extraction.merging.observations import observe
from extraction.merging.publish_decision import resolve
from extraction.prompting.prompt import compact_schema, field_guide
from extraction.prompting.reply_parsing import Parsed, parse
from extraction.prompting.response_schema import wire_schema, without_empty
from extraction.schema.arrow_types import in_column
from extraction.schema.merge_rules import latest, union
from extraction.schema.profile_model import fields, struct_of


class Tier(StrEnum):
    GOLD = "gold"
    TIN = "tin"


class Rank(IntEnum):
    FIRST = 1
    LAST = 9


class Colour(Enum):
    RED = "red"


def _known(code: str) -> str:
    return {"a": "a", "acme": "acme"}[code]  # KeyError for any other


def _inverse(number: float) -> float:
    return number if 1 / number else 0  # ZeroDivisionError


class Site(BaseModel):
    name: str | None
    since: datetime.date | None
    kind: Literal["shop", "plant"] | None
    code: Annotated[str, Field(pattern="^[A-Z]+$")] | None = None


Name = NewType("Name", str)
Known = Annotated[str, AfterValidator(_known)]
PLAIN: list[Any] = [str, int, float, bool, Decimal, UUID, HttpUrl, EmailStr, Path, Name, Tier, Rank, Colour]
TIMES: list[Any] = [datetime.date, datetime.datetime, AwareDatetime, datetime.time, PastDate]
LISTS: list[Any] = [list[str], list[datetime.date], list[Tier], list[bool], list[Decimal], list[Known], set[str]]
LISTS += [frozenset[int], tuple[str, ...], tuple[int, int], RootModel[list[str]]]
TYPES = [
    *PLAIN,
    *TIMES,
    *LISTS,
    Literal["x", "y"],
    Literal[1, 2],
    Annotated[str, Field(pattern="^[a-z]+$", max_length=5)],
    Annotated[int, Field(multiple_of=5, ge=0)],
    Annotated[Decimal, Field(max_digits=4, decimal_places=1)],
    Known,
    Annotated[float, AfterValidator(_inverse)],
    Annotated[list[Annotated[int, Field(le=10)]], Field(max_length=2)],
    RootModel[str],
    Annotated[Site, latest(anchor="name")],
    Annotated[list[Site], union(anchor="name")],
    Site,
]
ALIASES: list[dict[str, Any]] = [
    {},
    {"alias": "theAlias"},
    {"validation_alias": "in-side"},
    {"serialization_alias": "out-side"},
    {"validation_alias": AliasChoices("first", AliasPath("second", 0))},
    {"validation_alias": AliasPath("second", 0)},
]
CONFIGS: list[ConfigDict] = [
    ConfigDict(),
    ConfigDict(strict=True),
    ConfigDict(extra="forbid"),
    ConfigDict(alias_generator=to_camel),
    ConfigDict(populate_by_name=True, serialize_by_alias=True),
    ConfigDict(validate_by_alias=False, validate_by_name=True),
    ConfigDict(use_enum_values=True),
    ConfigDict(frozen=True, loc_by_alias=False),
]


@st.composite
def models(draw: st.DrawFn) -> type[BaseModel]:
    """A model of a few fields."""
    made: dict[str, Any] = {}
    alias: dict[str, Any]
    for number, kind in enumerate(draw(st.lists(st.sampled_from(TYPES), min_size=1, max_size=4))):
        alias = draw(st.sampled_from(ALIASES))
        alias = {k: f"{v}{number}" if isinstance(v, str) else v for k, v in alias.items()}
        nullable, default = draw(st.sampled_from([(True, ...), (True, None), (False, ...)]))
        made[f"field_{number}"] = (Annotated[kind | None if nullable else kind, Field(**alias)], default)
    return create_model("Made", __config__=draw(st.sampled_from(CONFIGS)), **made)


TEXTS: dict[str | None, st.SearchStrategy[str]] = {
    None: st.sampled_from(["a", "b", "acme", "A", "12", "x@acme.example", "http://acme.example/"])
    | st.text(max_size=8),
    "date": st.dates().map(str) | st.sampled_from(["2024-02-30", "0000-00-00", "12 March 2024"]),
    "date-time": st.datetimes().map(lambda at: at.isoformat()) | st.just("2024-05-01T09:00:00+02:00"),
    "time": st.times().map(str) | st.just("25:00:00"),
    "uuid": st.uuids().map(str) | st.just("no-uuid"),
}


def answers(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Whatever a grammar that is made of a wire schema lets a model write."""
    if "anyOf" in schema:
        return st.one_of(*map(answers, schema["anyOf"]))
    if "enum" in schema or "const" in schema:
        return st.sampled_from(schema.get("enum", [schema.get("const")]))
    if "prefixItems" in schema:
        return st.tuples(*map(answers, schema["prefixItems"])).map(list)
    low, high = schema.get("minItems", 0), schema.get("maxItems", 3)
    made: dict[str, Callable[[], st.SearchStrategy[Any]]] = {
        "null": st.none,
        "boolean": st.booleans,
        "integer": lambda: st.integers(-3, 20) | st.just(10**30),
        "number": lambda: st.sampled_from([0, 0.5, -2.25, 1234.5, 1e300, 7]),
        "string": lambda: TEXTS[schema.get("format")],
        "array": lambda: st.lists(answers(schema["items"]), min_size=low, max_size=high),
        "object": lambda: st.fixed_dictionaries({k: answers(v) for k, v in schema["properties"].items()}),
    }
    return made[schema["type"]]()


@settings(max_examples=60)
@given(st.data())
def test_what_is_asked_for_is_judged_stored_and_read_back(data: st.DataObject) -> None:
    model = data.draw(models())
    names = [field.path[0] for field in fields(model)]
    schema = wire_schema(model, bounded=False)
    assert list(schema["properties"]) == list(model.model_fields) == list(dict.fromkeys(names))
    assert all(name in field_guide(model) and name in compact_schema(model) for name in names)
    answer = data.draw(answers(schema))
    jsonschema.validate(answer, schema)

    parsed = parse(json.dumps(answer), "stop", model)
    assert list(parsed.data) == list(model.model_fields)
    assert not parsed.refused or parsed.data != answer
    if type(parsed.profile) is model:  # else a field is null that may not be
        assert model.model_validate_json(json.dumps(parsed.data), by_alias=True, by_name=True) == parsed.profile

    brief = without_empty(answer, model)
    jsonschema.validate(brief, wire_schema(model, bounded=False, optional=True))
    assert parse(json.dumps(brief), "stop", model, optional=True).data == parsed.data

    columns = struct_of(model)
    (row,) = pa.Table.from_pylist([in_column(parsed.data, columns)], pa.schema(list(columns))).to_pylist()
    assert json.loads(json.dumps(row, default=str)) == parsed.data

    found = published(parsed, json.dumps(answer))
    for field in fields(model):
        if not field.rule.verbatim and len(field.path) == 1:
            said, told = parsed.data[field.path[0]], found[field.path[0]]
            assert (sorted(told) == sorted(set(said or []))) if field.rule.kind == "union" else (told == said)


def published(parsed: Parsed[BaseModel], text: str) -> dict[str, Any]:
    """What one answer to a text comes to."""
    piece = Piece("d", 0, len(text), 0, len(text), None, None, "in#0")
    return resolve(type(parsed.profile), Evidence(observe(parsed, "c", text, [piece]))).values
