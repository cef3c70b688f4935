"""Filled schemas: whatever the schema and the text, a value that the schema accepts."""

from typing import Any

import jsonschema
import pytest

from tests.fakes.openai_client import TEXT, messages
from tests.fakes.process import FakeServer
from tests.fakes.schema_filler import Filler

NODE = {"$ref": "#/$defs/n"}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": ["integer", "null"], "minimum": 99999},
        {"type": "integer", "minimum": 3000, "multipleOf": 1},
        {"type": "array", "items": {"enum": ["a", "b"]}, "uniqueItems": True, "minItems": 1},
        {"type": "array", "items": {"type": "string"}, "minItems": 5, "maxItems": 5},
        {"type": "object", "additionalProperties": {"type": "number"}},
        {"type": "array", "prefixItems": [{"const": 7}, {"type": "boolean"}], "minItems": 2, "maxItems": 2},
        {"$ref": "#/$defs/n", "$defs": {"n": {"properties": {"next": {"anyOf": [NODE, {"type": "null"}]}}}}},
        {"allOf": [{"$ref": "#/$defs/s"}], "$defs": {"s": {"type": "string", "minLength": 200}}},
    ],
)
@pytest.mark.parametrize("text", [TEXT, "", "no capitals 7"])
def test_any_schema_is_met(schema: dict[str, Any], text: str) -> None:
    jsonschema.validate(Filler(schema, text).value(schema), schema)


def test_a_pattern_is_looked_for_in_the_text() -> None:
    schema = {"type": ["string", "null"], "pattern": r"^\d{4}$"}
    assert Filler(schema, TEXT).value(schema) == "1987"
    assert Filler(schema, "none").value(schema) is None


@pytest.mark.parametrize("schema", [None, {"type": "strin"}, {"$ref": "#/$defs/gone"}])
def test_a_bad_schema_is_refused(server: FakeServer, schema: Any) -> None:
    body = {"response_format": {"type": "json_schema", "json_schema": {"name": "p", "schema": schema}}}
    status, answer = server.call("/v1/chat/completions", {"messages": messages(TEXT), **body})
    assert (status, answer["object"], answer["code"]) == (400, "error", 400)
