"""The base of all data that is parsed once: frozen models that refuse unknown keys, bounded numbers, their YAML.

A value is what YAML 1.2 has it to be, so that `yes`, `1:30` and `010` are no surprises; no key of a mapping stands
twice.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0)]
Amount = Annotated[float, Field(ge=0)]


class Frozen(BaseModel):
    """Base of all settings: parsed once, never changed, unknown keys refused, true and false no numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _no_booleans_for_numbers(cls, value: Any, info: ValidationInfo) -> Any:
        kinds = _types_in(cls.model_fields[str(info.field_name)].annotation)
        values = value.values() if isinstance(value, Mapping) else (value,)
        if kinds & {int, float} and not kinds & {bool, Any} and any(isinstance(each, bool) for each in values):
            raise PydanticCustomError("number_type", "Input should be a number, not true or false")
        return value


def _types_in(annotation: Any) -> set[Any]:
    return {annotation}.union(*map(_types_in, get_args(annotation)))


SCALARS = {  # of YAML 1.2's core schema, each with the signs that it begins with
    "null": (r"~|null|Null|NULL|", "~nN"),
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    "float": (
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
    "merge": ("<<", "<"),
}


class Loader(yaml.SafeLoader):
    """Reads YAML 1.2's values, and refuses a key that stands twice."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 as PyYAML has it

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """A mapping as it stands there."""
        node = super().compose_mapping_node(anchor)
        seen = set[str]()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"the key {key.value} stands twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return node

    def whole_number(self, node: yaml.ScalarNode) -> int:
        """An integer; zeros before it mean nothing."""
        return int(node.value, 0 if node.value.startswith(("0o", "0x")) else 10)


class Dumper(yaml.SafeDumper):
    """Writes YAML that any version reads back the same."""


Loader.add_constructor("tag:yaml.org,2002:int", Loader.whole_number)
for name, (pattern, signs) in SCALARS.items():
    for kind in (Loader, Dumper):
        first = [*signs, ""] if name == "null" else list(signs)
        kind.add_implicit_resolver(f"tag:yaml.org,2002:{name}", re.compile(f"^(?:{pattern})$"), first)


def load_yaml(text: str) -> Any:
    """What a YAML text holds. Raises YAMLError where it is none."""
    try:
        return yaml.load(text, Loader)
    except ValueError as error:  # of a value that is tagged as another kind
        raise yaml.YAMLError(str(error)) from None


def dump_yaml(data: Any) -> str:
    """Data as YAML, in its order."""
    return str(yaml.dump(data, Dumper=Dumper, sort_keys=False))
