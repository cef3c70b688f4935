"""Labels: what is known to be right, for some fields of some companies.

A label is one value, a list of values that are each accepted (of a field that holds a list: its items), null
or empty where there is nothing to give, or absent: then the field is not scored. A company whose labels are
null as a whole is none. What a file may hold beside them:

    name_accepted: [...], alt_names: [...]   more accepted values of name
    other_cities: [...]                      of somebody else: to give one as the city is wrong, where there is no
    label too
    in_text: {name: true, city: false}       whether a label stands in the company's documents, word for word
    stated: {city: false}                    whether they say that it is the field's; else nobody has to find it
    expected: none                           the documents are about no company
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from extraction.errors import OperatorError, one_line
from extraction.schema.profile_model import Field
from extraction.settings_base import load_yaml

ACCEPTED = "_accepted"
MORE, OTHERS_PREFIX = "alt_", "other_"  # before a key in the plural
PLURALS = (("ies", "y"), ("ses", "s"), ("s", ""), ("es", ""))  # the likeliest end of a plural first
MARKS = ("in_text", "stated")
NO_COMPANY = ("expected", "none")
LabelRow = tuple[str, Mapping[str, Any] | None]


@dataclass(frozen=True)
class Label:
    """The accepted values of a field, or the items of its list; none where any value is an invention.

    `grounded` are those of them that stand in the company's documents.
    """

    values: tuple[Any, ...] = ()
    grounded: tuple[Any, ...] = ()

    def grounded_by(self, is_grounded: Callable[[Any], bool]) -> "Label":
        """The same label, its values looked up anew."""
        return replace(self, grounded=tuple(filter(is_grounded, self.values)))


NO_VALUES = Label()


@dataclass
class Labelled:
    """What all rows of a file say of one company: the values of each key, and marks of them by (mark, key)."""

    is_company: bool = False
    values: dict[str, list[Any]] = field(default_factory=dict)
    marks: dict[tuple[str, str], bool] = field(default_factory=dict)

    def add(self, values: Mapping[str, Any] | None) -> None:
        """Join one row: values that differ are all accepted."""
        flat = dict(_flat(values or {}))
        self.is_company |= values is not None and flat.get(NO_COMPANY[0]) != NO_COMPANY[1]
        for key, value in flat.items():
            outer, _, inner = key.partition(".")
            if inner and outer in MARKS:
                self.marks[outer, inner] = self.marks.get((outer, inner), False) or bool(value)
                continue
            known = self.values.setdefault(_stem(key, flat), [])
            if not key.startswith(OTHERS_PREFIX):
                known += [v for v in _listed(value) if v not in known]

    def is_grounded(self, *names: str) -> bool:
        """Whether the documents hold a label and state it, as far as the file tells by one of a field's names."""
        marks = (next((self.marks[mark, n] for n in names if (mark, n) in self.marks), True) for mark in MARKS)
        return all(marks)


class Labels:
    """The labels of all companies. `names` maps a profile field's dotted path to the label's key where they
    differ; else the key is the path or its last part."""

    def __init__(self, rows: Iterable[LabelRow], names: Mapping[str, str] | None = None) -> None:
        self.names = dict(names or {})
        self.companies: dict[str, Labelled] = {}
        for company_id, values in rows:
            self.companies.setdefault(company_id, Labelled()).add(values)
        self.keys = frozenset(key for labelled in self.companies.values() for key in labelled.values)
        unknown = set(self.names.values()) - self.keys
        if unknown:
            have = ", ".join(sorted(self.keys)) or "none"
            raise OperatorError(f"--map: there are no labels {unknown.pop()!r}, they are {have}")

    def key(self, of: Field) -> str | None:
        """The key under which a field's labels stand, None where it has none."""
        named = (self.names[of.name],) if of.name in self.names else (of.name, of.path[-1])
        return next((key for key in named if key in self.keys), None)

    def label(self, company_id: str, of: Field) -> Label | None:
        """What is known of a company's field; None where it is not to be scored."""
        key, labelled = self.key(of), self.companies.get(company_id)
        if key is None or labelled is None:
            return None
        if not labelled.is_company:
            return NO_VALUES
        if key not in labelled.values:
            return None
        values = tuple(labelled.values[key])
        return Label(values, values if labelled.is_grounded(key, of.name, of.path[-1]) else ())

    @property
    def mark_grounded(self) -> bool:
        """Whether the file says of any label if it stands in the text."""
        return any(labelled.marks for labelled in self.companies.values())


def load_labels(path: Path, names: Mapping[str, str] | None = None) -> Labels:
    """Read labels: YAML of company_id to labels, JSON lines, or Parquet. Rows hold company_id beside the labels,
    or beside `labels`, which may be JSON text. Raises OperatorError for a file that is none of these.
    """
    readers = {".yaml": _yaml, ".yml": _yaml, ".jsonl": _json_lines, ".parquet": _parquet}
    reader = readers.get(path.suffix)
    if reader is None:
        raise OperatorError(f"--labels {path}: one of {', '.join(readers)} is expected")
    try:
        return Labels(reader(path), names)
    except OSError as error:
        raise OperatorError(f"--labels {path} can't be read: {error.strerror or error}") from None
    except (ValueError, yaml.YAMLError, pa.ArrowException) as error:
        raise OperatorError(f"--labels {path}: {one_line(str(error), 200)}") from None


def _yaml(path: Path) -> Iterator[LabelRow]:
    text = path.read_text(encoding="utf-8")
    raw = load_yaml(text)
    if not isinstance(raw, dict):
        raise ValueError("`company_id: {field: value}` is expected")
    company_ids = yaml.load(text, yaml.BaseLoader)  # as they are written: 00191 is no number
    for company_id, values in zip(company_ids, raw.values(), strict=True):
        yield company_id, None if values is None else _mapping(values, company_id)


def _json_lines(path: Path) -> Iterator[LabelRow]:
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield _row(json.loads(line), f"line {number}")


def _parquet(path: Path) -> Iterator[LabelRow]:
    with pq.ParquetFile(path) as file:
        names = file.schema_arrow.names
        columns = ["company_id", "labels"] if "labels" in names else None
        for batch in file.iter_batches(columns=columns):
            yield from (_row(row, "a row") for row in batch.to_pylist())


def _row(row: Any, where: str) -> LabelRow:
    values = dict(_mapping(row, where))
    company_id = values.pop("company_id", None)
    if company_id is None:
        raise ValueError(f"{where} has no company_id")
    labels = values.get("labels", values)
    if isinstance(labels, str):
        labels = json.loads(labels)
    return str(company_id), _mapping(labels or {}, where)


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{where} holds no labels: {value!r:.80}")
    return value


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Labels by dotted path."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _stem(key: str, flat: Mapping[str, Any]) -> str:
    """The key of a label that another key says more about: name of name_accepted, alt_names and other_names."""
    for sign in (MORE, OTHERS_PREFIX):
        if key.startswith(sign):
            plural = key.removeprefix(sign)
            stems = [plural.removesuffix(end) + one for end, one in PLURALS if plural.endswith(end)]
            return next((stem for stem in (*stems, plural) if stem in flat), (*stems, plural)[0])
    stem = key.removesuffix(ACCEPTED)
    return stem if stem in flat else key


def _listed(value: Any) -> list[Any]:
    """The values of a label. A whole number is one: tables that hold nulls make floats of years."""
    values = value if isinstance(value, list | tuple) else [value]
    whole = (int(v) if isinstance(v, float) and v.is_integer() else v for v in values)
    return [v for v in whole if v is not None and v != ""]
