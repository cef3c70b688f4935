"""The wire schema is the model's schema without what costs a grammar and tells it nothing."""

import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID

import jsonschema
import pytest
from pydantic import BaseModel, Field, HttpUrl

from extraction.prompting.response_schema import judging_schema, wire_schema
from extraction.schema.company import CompanyProfile, ShortProfile
from tests.extraction.samples import Vineyard
from tests.extraction.schema.test_company import shapes

MODELS = [CompanyProfile, ShortProfile, Vineyard]
NEVER = {
    *("title", "description", "default", "examples", "pattern", "format", "$ref", "$defs"),
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
}


def keywords(node: Any, *, named: bool = False) -> set[str]:
    """The keywords of a schema; names of properties are none."""
    if isinstance(node, list):
        return set().union(*map(keywords, node))
    if not isinstance(node, dict):
        return set()
    inner = (keywords(value, named=key == "properties" and not named) for key, value in node.items())
    return (set() if named else set(node)).union(*inner)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("bounded", [True, False])
def test_only_what_a_grammar_takes_is_sent(model: type[BaseModel], bounded: bool) -> None:
    found = keywords(wire_schema(model, bounded=bounded))
    assert not found & NEVER
    assert ("maxLength" in found) is bounded
    assert "maxItems" in found


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("bounded", [True, False])
def test_objects_are_closed_and_complete_in_the_order_declared(model: type[BaseModel], bounded: bool) -> None:
    schema = wire_schema(model, bounded=bounded)
    assert list(schema["properties"]) == list(model.model_fields)
    for path, shape in shapes(schema):
        if shape["type"] == "object":
            assert shape["required"] == list(shape["properties"]), path
            assert shape["additionalProperties"] is False, path


@pytest.mark.parametrize("model", MODELS)
def test_what_can_be_empty_may_be_left_out(model: type[BaseModel]) -> None:
    whole, optional = (wire_schema(model, bounded=True, optional=optional) for optional in (False, True))
    for (path, shape), (_, left) in zip(shapes(whole), shapes(optional), strict=True):
        if shape["type"] == "object":
            assert set(left["required"]) <= set(shape["required"]), path
            assert not any("null" in str(left["properties"][name].get("anyOf")) for name in left["required"]), path
    assert {**whole, "required": optional["required"]}.keys() == optional.keys()
    jsonschema.validate({"about": "no_company"} if model is CompanyProfile else {}, optional)


def test_nested_models_stand_where_they_are_used() -> None:
    cellar = wire_schema(Vineyard, bounded=False)["properties"]["cellar"]
    assert list(cellar["properties"]) == ["town", "opened", "phones"]


class Kind(StrEnum):
    A = "a"
    B = "b"


class Awkward(BaseModel):
    """Fields named as keywords are."""

    title: str = Field(default="x", description="a title")
    description: str | None
    default: int
    format: Literal["a", "b"]
    pattern: Annotated[str, Field(pattern="^a+$", max_length=3)]
    properties: Kind
    required: Annotated[list[Kind], Field(max_length=2)]


def test_fields_named_as_keywords_stay() -> None:
    schema = wire_schema(Awkward, bounded=True)
    assert list(schema["properties"]) == list(Awkward.model_fields) == schema["required"]
    assert schema["properties"]["pattern"] == {"type": "string", "maxLength": 3}
    assert schema["properties"]["properties"] == {"type": "string", "enum": ["a", "b"]}
    assert schema["properties"]["required"]["maxItems"] == 2


@pytest.mark.parametrize("bounded", [True, False])
def test_what_the_model_accepts_the_wire_schema_accepts(bounded: bool) -> None:
    profile = Vineyard.model_validate(
        {
            "owner": "Ana Brandt",
            "style": "red",
            "cellar": {"town": None, "opened": 1874},
            "grapes": ["Rufete"],
            "plots": [{"name": "Cima", "hectares": 2.5}],
        }
    )
    jsonschema.validate(profile.model_dump(mode="json"), wire_schema(Vineyard, bounded=bounded))


def test_replies_are_judged_by_bounds_that_are_not_sent() -> None:
    judging = judging_schema(Vineyard)
    assert {"maximum", "maxLength", "exclusiveMinimum"} <= keywords(judging)
    assert not keywords(judging) & {"title", "description", "default", "$ref", "$defs"}


class Cat(BaseModel):
    kind: Literal["cat"]


class Dog(BaseModel):
    kind: Literal["dog"]


class Typed(BaseModel):
    day: datetime.date | None = Field(alias="Tag", description="when")
    at: datetime.datetime
    id: UUID
    link: HttpUrl
    price: Annotated[Decimal, Field(ge=0, decimal_places=2)] | None
    tags: set[str]
    pet: Annotated[Cat | Dog, Field(discriminator="kind")]


def test_types_are_asked_for_as_all_grammars_know_them() -> None:
    schema = wire_schema(Typed, bounded=False)
    assert schema["properties"] == {
        "day": {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]},
        "at": {"type": "string", "format": "date-time"},
        "id": {"type": "string", "format": "uuid"},
        "link": {"type": "string"},
        "price": {"anyOf": [{"type": "number"}, {"type": "null"}]},
        "tags": {"type": "array", "items": {"type": "string"}},
        "pet": {
            "anyOf": [
                {
                    "type": "object",
                    "properties": {"kind": {"type": "string", "const": kind}},
                    "required": ["kind"],
                    "additionalProperties": False,
                }
                for kind in ("cat", "dog")
            ]
        },
    }
