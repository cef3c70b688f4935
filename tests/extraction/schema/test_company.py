"""The profile's schema is small enough to send, and nothing in it is without bounds."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from extraction.schema.company import CompanyProfile, ShortProfile

PROFILES = [CompanyProfile, ShortProfile]


def shapes(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every place of a schema that says what a value is, with its path."""

    def walk(node: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
        if isinstance(node, dict):
            if "type" in node:
                yield path, node
            for key, value in node.items():
                yield from walk(value, f"{path}.{key}")
        elif isinstance(node, list):
            for number, value in enumerate(node):
                yield from walk(value, f"{path}.{number}")

    yield from walk(schema, "")


def test_the_schema_of_the_profile_stays_small() -> None:
    assert len(json.dumps(CompanyProfile.model_json_schema(), separators=(",", ":"))) <= 9_000


@pytest.mark.parametrize("model", PROFILES)
def test_every_list_is_bounded(model: type[BaseModel]) -> None:
    lists = [(path, s) for path, s in shapes(model.model_json_schema()) if s["type"] == "array"]
    assert lists
    assert [path for path, shape in lists if not shape.get("maxItems")] == []


@pytest.mark.parametrize("model", PROFILES)
def test_every_string_is_bounded(model: type[BaseModel]) -> None:
    strings = [(path, s) for path, s in shapes(model.model_json_schema()) if s["type"] == "string"]
    assert strings
    assert [path for path, shape in strings if not (shape.get("maxLength") or shape.get("enum"))] == []


def test_every_number_of_the_profile_fits_its_column() -> None:
    numbers = [(path, s) for path, s in shapes(CompanyProfile.model_json_schema()) if s["type"] == "integer"]
    assert numbers
    assert [path for path, shape in numbers if not 0 < shape.get("maximum", 2**63) < 2**63] == []


@pytest.mark.parametrize("model", PROFILES)
def test_every_field_has_to_be_given_and_nothing_else_may_be(model: type[BaseModel]) -> None:
    for path, shape in shapes(model.model_json_schema()):
        if shape["type"] == "object":
            assert shape["additionalProperties"] is False, path
            assert shape["required"] == list(shape["properties"]), path
