"""Write the tables of docs/configuration.md and docs/output.md from the code.

    python docs/generate.py            write them
    python docs/generate.py --check    write nothing; exit 1 if a page is out of date

A table stands between `<!-- generated: NAME -->` and `<!-- end -->`. Keys, types, defaults and meanings are
those of the pydantic models, columns those of the Arrow schemas. A key or column without a description is an error.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

import pyarrow as pa
from pydantic import BaseModel

from actors.results import RESULTS
from extraction.config.settings import Columns, Settings
from extraction.config.sglang_presets import Flags, Matrix
from extraction.errors import Fault
from extraction.schema.company import CompanyProfile, ShortProfile
from extraction.schema.profile_model import facts, model_among, struct_of
from jobs.backfills.config import Declaration
from jobs.cli.command import Options
from jobs.reports.report_data import MEANINGS
from jobs.state.manifest import Manifest
from jobs.state.parquet_schemas import CHUNKS, DEAD_LETTERS, profile_schema

DOCS = Path(__file__).resolve().parent
PLACE = re.compile(r"(<!-- generated: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
WRITTEN_AS = {  # in a settings file, where that is not the parsed type
    "confidence.calibration": "name of a file or `null`",
    "confidence.min_confidence": "number from 0 to 1, mapping of name to such a number, or `null`",
}
BOUNDS = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to", "exclusiveMaximum": "below"}
SHARED = [column for column in profile_schema(ShortProfile) if column.name not in ShortProfile.model_fields]
Row = tuple[str, ...]  # the cells of a line, the path of a key or column first
PLAIN_HEAD: Row = ("name", "type", "meaning")
MERGED_HEAD: Row = ("column", "type", "merged by", "meaning")


class Documented(NamedTuple):
    """A key or column: its path, the cells between that and its meaning, and its meaning."""

    path: str
    cells: Row
    meaning: str | None = None


def main(argv: Sequence[str] | None = None, docs: Path = DOCS) -> int:
    """Write the pages or check them, and return the exit code."""
    flags = argparse.ArgumentParser(prog="generate.py", description="Write the tables of the documentation.")
    flags.add_argument("--check", action="store_true", help="write nothing; exit 1 if a page is out of date")
    check, stale = flags.parse_args(argv).check, False
    for name, tables in {"configuration.md": configuration_tables(), "output.md": output_tables()}.items():
        page = (docs / name).read_text("utf-8")
        renewed = with_tables(page, tables)
        if renewed != page and check:
            print(f"{docs / name} is out of date: run python docs/generate.py", file=sys.stderr)
            stale = True
        elif renewed != page:
            (docs / name).write_text(renewed, "utf-8")
    return int(stale)


def with_tables(page: str, tables: Mapping[str, str]) -> str:
    """A page with these tables in their places. Raises ValueError unless each has one place."""
    places = sorted(found[2] for found in PLACE.finditer(page))
    if places != sorted(tables):
        raise ValueError(f"the page has places for {places}, and these are its tables: {sorted(tables)}")
    return PLACE.sub(lambda found: found[1] + tables[found[2]] + found[3], page)


def configuration_tables() -> dict[str, str]:
    """The tables of settings, one for each section and one for the other keys; those of backfills and presets."""
    sections: dict[str, list[Row]] = {}
    for row in describe(keys(Settings)):
        section, dot, _ = row[0].partition(".")
        sections.setdefault(section if dot else "settings", []).append(row)
    sections["backfill"] = describe(keys(Declaration, whole=Options))
    sections["presets"] = describe(keys(Matrix, whole=Flags))
    return {name: table(("key", "type", "default", "meaning"), rows) for name, rows in sections.items()}


def output_tables() -> dict[str, str]:
    """The tables of an output folder: the columns of its Parquet files, and the keys of its manifest."""
    manifest = [(row[0], row[1], row[3]) for row in describe(keys(Manifest, whole=Columns))]
    return {
        "profiles": table(PLAIN_HEAD, describe(columns(SHARED))),
        "short-profile": table(MERGED_HEAD, describe(profile_columns(ShortProfile))),
        "company-profile": table(MERGED_HEAD, describe(profile_columns(CompanyProfile))),
        "dead-letters": table(PLAIN_HEAD, describe(columns(DEAD_LETTERS))),
        "faults": table(("fault", "meaning"), describe((Documented(fault, ()) for fault in Fault), MEANINGS)),
        "manifest": table(PLAIN_HEAD, manifest),
        "ledger": table(PLAIN_HEAD, describe(columns(RESULTS))),
        "chunks": table(PLAIN_HEAD, describe(columns(CHUNKS))),
    }


def describe(found: Iterable[Documented], meanings: Mapping[str, str] | None = None) -> list[Row]:
    """The lines of a table; `meanings` by path go before those of keys. Raises ValueError for a key without one."""
    rows = []
    for key in found:
        meaning = " ".join(((meanings or {}).get(key.path) or key.meaning or "").split())
        if not meaning:
            raise ValueError(f"{key.path} has no description")
        rows.append((str(key.path), *key.cells, meaning[0].upper() + meaning[1:].rstrip(".") + "."))
    return rows


def table(head: Row, rows: Sequence[Row]) -> str:
    """A Markdown table."""
    lines = [head, tuple("---" for _ in head), *((f"`{row[0]}`", *row[1:]) for row in rows)]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def keys(model: type[BaseModel], prefix: str = "", whole: type[BaseModel] | None = None) -> Iterator[Documented]:
    """The keys of a model with type and default, those of models in it too; `whole` is one key."""
    schema = model.model_json_schema()
    for name, info in model.model_fields.items():
        shown, inner, many = info.alias or name, model_among(types_in(info.annotation)), get_origin(info.annotation)
        path, optional = prefix + shown, many in (Union, UnionType)
        if inner is None or optional or inner is whole or many:
            kind = WRITTEN_AS.get(path) or type_text(schema["properties"][shown], schema.get("$defs", {}))
            value = info.get_default(call_default_factory=True)
            said = value.model_dump(exclude_unset=True) if isinstance(value, BaseModel) else value
            default = "required" if info.is_required() else f"`{json.dumps(said)}`"
            yield Documented(path, (kind, default), info.description)
        if inner and inner is not whole and not optional:
            each = "" if not many else ".NAME" if issubclass(many, Mapping) else "[]"
            yield from keys(inner, f"{path}{each}.", whole)


def columns(schema: Any, prefix: str = "") -> Iterator[Documented]:
    """The columns of an Arrow schema or struct with their types; the parts of structs too."""
    for field in schema:
        meaning = (field.metadata or {}).get(b"description", b"").decode()
        inner, path, lists = field.type, prefix + field.name, ""
        while pa.types.is_list(inner):
            inner, path, lists = inner.value_type, path + "[]", lists + "list of "
        struct = pa.types.is_struct(inner)
        yield Documented(prefix + field.name, (f"{lists}{'struct' if struct else inner}",), meaning)
        if struct and path != "confidence":  # which has the names of the profile
            yield from columns(inner, path + ".")


def profile_columns(model: type[BaseModel]) -> Iterator[Documented]:
    """The columns of a profile model with types and merge rules; a meaning is a name and its description, the
    words to choose from, or the docstring of the model in it."""
    rules = {field.name: field.rule for field in facts(model)}
    for column in columns(struct_of(model)):
        holder = model
        for part in column.path.replace("[]", "").split("."):
            info = holder.model_fields[part]
            inner = model_among(types_in(info.annotation))
            holder = inner or holder
        words = ", ".join(
            f"`{word}`" for t in types_in(info.annotation) if get_origin(t) is Literal for word in get_args(t)
        )
        rule = rules.get(column.path)  # a part of a value has no rule of its own
        limit = f", at most {rule.limit}" if rule and rule.kind == "union" else ""
        merged = f"{rule.kind}{limit}{'' if rule.verbatim else ', reading'}" if rule else ""
        name = part.replace("_", " ")
        meaning = f"{name} ({info.description})" if info.description else words or (inner and inner.__doc__) or name
        yield Documented(column.path, (*column.cells, merged), meaning)


def types_in(annotation: Any) -> tuple[Any, ...]:
    """The types in an annotation, those in its unions, lists and mappings too."""
    inner = () if get_origin(annotation) is Literal else get_args(annotation)
    return tuple(kind for part in inner for kind in types_in(part)) or (annotation,)


def type_text(node: Mapping[str, Any], models: Mapping[str, Any]) -> str:
    """A JSON schema in words."""
    if "$ref" in node:
        return type_text(models[node["$ref"].rpartition("/")[2]], models)
    if "anyOf" in node:
        return " or ".join(type_text(option, models) for option in node["anyOf"])
    if "enum" in node or "const" in node:
        return ", ".join(f"`{value}`" for value in node.get("enum") or [node["const"]])
    kind = node.get("type", "any value")
    if kind == "array":
        return f"list of {type_text(node.get('items', {}), models)}"
    if kind == "object":
        inner = node.get("additionalProperties")
        return f"mapping of name to {type_text(inner, models)}" if isinstance(inner, dict) else "mapping"
    bounds = "".join(f" {word} {node[name]:g}" for name, word in BOUNDS.items() if name in node)
    return ("`null`" if kind == "null" else str(node.get("format", kind))) + bounds


if __name__ == "__main__":
    sys.exit(main())
