"""Scoring of profiles against labels, field by field, counted with stickler, with bootstrap intervals.

A value is right when its field's own rule makes it the same as an accepted one; names, readings and items of lists
also when they are alike. Precision asks of what is published how much is right. Recall asks of the labels that
stand in the documents how many were found. Where no label stands in the documents, a value that is not right by
chance is an invention. Intervals come from resampling the companies.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import create_model
from stickler import (  # type: ignore[import-untyped]
    BaseComparator,
    ComparableField,
    LevenshteinComparator,
    StructuredModel,
)

from extraction.evaluation.labels import Label
from extraction.schema.merge_rules import Rule
from extraction.schema.profile_model import Field, values_of

RESAMPLES = 1_000
RESAMPLED_AT_ONCE = 50  # resamples; what they weigh companies by is held in memory
SEED = 0
LEVEL = 95  # percent of the resamples that an interval holds

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A share and its interval; NaN where there is nothing to share."""

    value: float
    low: float
    high: float


def shares(above: npt.ArrayLike, below: npt.ArrayLike) -> list[Interval]:
    """The share sum(above) / sum(below) for each column of two tables with a row a company."""
    over, under = np.asarray(above, np.float64), np.asarray(below, np.float64)
    values = ratio(over.sum(axis=0), under.sum(axis=0))
    resampled = np.concatenate([ratio(w @ over, w @ under) for w in _weights(len(over))])
    return [Interval(float(value), *_interval(column)) for value, column in zip(values, resampled.T, strict=True)]


def ratio(above: npt.ArrayLike, below: npt.ArrayLike) -> FloatArray:
    """Element by element, NaN where there is nothing below."""
    over, under = np.asarray(above, np.float64), np.asarray(below, np.float64)
    quotients: FloatArray = np.full(np.broadcast(over, under).shape, np.nan)
    np.divide(over, under, out=quotients, where=under > 0)
    return quotients


def f1(precision: float, recall: float) -> float:
    """The harmonic mean; NaN without a recall, 0 without a precision, as where nothing is given."""
    if math.isnan(recall):
        return recall
    return 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0


def _weights(companies: int) -> Iterator[FloatArray]:
    """How often each company is drawn, a row a resample, a few at a time."""
    draw = np.random.default_rng(SEED)
    even = np.full(companies, 1 / max(companies, 1))
    for _ in range(RESAMPLES // RESAMPLED_AT_ONCE):
        yield draw.multinomial(companies, even, RESAMPLED_AT_ONCE).astype(np.float64)


def _interval(resampled: FloatArray) -> tuple[float, float]:
    known = resampled[~np.isnan(resampled)]
    if not known.size:
        return float("nan"), float("nan")
    tail = (100 - LEVEL) / 2
    low, high = np.percentile(known, [tail, 100 - tail])
    return float(low), float(high)


SAME = 0.85  # at this likeness of two keys and above, one is a spelling of the other
ONLY_DIGITS = frozenset("0123456789")
ADDRESS_SIGNS = frozenset("@/")
FieldCount = Literal["labelled", "in_text", "given", "right", "found", "probes", "invented"]
COUNTS: tuple[FieldCount, ...] = ("labelled", "in_text", "given", "right", "found", "probes", "invented")
FieldCounts = npt.NDArray[np.int64]


class KeyComparator(BaseComparator):  # type: ignore[misc]
    """Likeness of two keys of one field, from 0 to 1: what its rule calls equal is, and what it calls alike.

    Of names, readings and items of lists spellings are alike too; numbers and addresses never.
    """

    def __init__(self, rule: Rule, threshold: float | None = None) -> None:
        super().__init__(threshold)
        self.alike = rule.likeness
        self.loose = rule.alike is not None or not rule.verbatim or rule.kind == "union"
        self.letters = LevenshteinComparator()

    def _compare(self, str1: str, str2: str) -> float:
        if str1 == str2:
            return 1.0
        numbers = [[c for c in key if c in ONLY_DIGITS] for key in (str1, str2)]
        if not self.loose or numbers[0] != numbers[1] or ADDRESS_SIGNS & {*str1, *str2}:
            return 0.0
        if self.alike and self.alike(str1, str2):
            return SAME
        return 0.0 if numbers[0] else float(self.letters.compare(str1, str2))


class Matcher:
    """Tells whether a key of a field is that of a label, by the field's own rule."""

    def __init__(self, fields: Iterable[Field]) -> None:
        self.fields = {field.name: field for field in fields}
        self._comparators = {name: KeyComparator(field.rule) for name, field in self.fields.items()}

    def right(self, of: str, key: str, label: Label) -> bool:
        """Whether a key is that of one of a label's values."""
        rule, compare = self.fields[of].rule, self._comparators[of].compare
        return any(compare(key, rule.key_of(value)) >= SAME for value in label.values)


@dataclass(frozen=True)
class Mistake:
    """A field of a company that is not as labelled: something wrong, invented (nothing is right there) or
    missing."""

    company_id: str
    field: str
    kind: Literal["wrong", "invented", "missing"]
    published: tuple[Any, ...]
    labels: tuple[Any, ...]


class Scorer:
    """Counts one company at a time: an array of a row a field and a column for each of COUNTS."""

    def __init__(self, fields: Sequence[Field]) -> None:
        self.fields = tuple(fields)
        self.comparators = [KeyComparator(field.rule) for field in self.fields]
        compared: dict[str, Any] = {}
        for field, comparator in zip(self.fields, self.comparators, strict=True):
            kind = list[str] | None if _is_list(field) else str | None
            compared[field.name] = (kind, ComparableField(comparator=comparator, threshold=SAME, default=None))
        self.model: Any = create_model("Compared", __base__=StructuredModel, **compared)

    def counts(self, profile: Mapping[str, Any], labels: Sequence[Label | None]) -> FieldCounts:
        """The counts of a company's profile ({} where it has none) by a label for each field."""
        given = [_keys(f, values_of(profile, f)) if at else [] for f, at in zip(self.fields, labels, strict=True)]
        stated = [_keys(f, at.values) if at else [] for f, at in zip(self.fields, labels, strict=True)]
        grounded = [
            _keys(f, at.grounded if _is_list(f) else at.values) if at and at.grounded else []
            for f, at in zip(self.fields, labels, strict=True)
        ]
        full = self._confusion(stated, given)
        in_text = full if grounded == stated else self._confusion(grounded, given)
        counts = np.zeros((len(self.fields), len(COUNTS)), np.int64)
        for row, at in enumerate(labels):
            if at is not None:
                counts[row] = _row(full[row], in_text[row], probe=not at.grounded)
        return counts

    def _confusion(self, truth: Sequence[list[str]], given: Sequence[list[str]]) -> list[dict[str, int]]:
        """Stickler's confusion counts (tp, fd, fa, fn) for each field."""
        gold = [
            sorted(accepted, key=lambda key: by.compare(key, keys[0]), reverse=True) if keys else accepted
            for accepted, keys, by in zip(truth, given, self.comparators, strict=True)
        ]
        one, other = self._compared(gold), self._compared(given)
        compared = one.compare_with(other, include_confusion_matrix=True, add_derived_metrics=False)
        by_field = compared["confusion_matrix"]["fields"]
        return [by_field[field.name]["overall"] for field in self.fields]

    def _compared(self, keys: Sequence[list[str]]) -> Any:
        """Keys as stickler's model; of a field of one value the first."""
        rows = zip(self.fields, keys, strict=True)
        return self.model(
            **{f.name: (values if _is_list(f) else values[0]) if values else None for f, values in rows}
        )

    def mistakes(
        self, company_id: str, profile: Mapping[str, Any], labels: Sequence[Label | None], counts: FieldCounts
    ) -> Iterator[Mistake]:
        """What the counts say is not right, field by field."""
        for field, label, row in zip(self.fields, labels, counts, strict=True):
            of: dict[str, int] = dict(zip(COUNTS, map(int, row), strict=True))
            if of["invented"]:
                kind: Literal["wrong", "invented", "missing"] = "invented"
            elif of["given"] > of["right"]:
                kind = "wrong"
            elif of["in_text"] > of["found"]:
                kind = "missing"
            else:
                continue
            values = label.values if label else ()
            yield Mistake(company_id, field.name, kind, tuple(values_of(profile, field)), values)


def _row(full: Mapping[str, int], in_text: Mapping[str, int], *, probe: bool) -> list[int]:
    """Counts from the confusions with all labels and with those that stand in the text, as COUNTS has them."""
    given = full["tp"] + full["fd"] + full["fa"]
    return [
        full["tp"] + full["fd"] + full["fn"],
        in_text["tp"] + in_text["fd"] + in_text["fn"],
        given,
        full["tp"],
        in_text["tp"],
        int(probe),
        int(probe and given > full["tp"]),
    ]


def _is_list(field: Field) -> bool:
    return field.rule.kind == "union"


def _keys(field: Field, values: Iterable[Any]) -> list[str]:
    """The keys of values, each once."""
    rule = field.rule
    keys = (rule.key_of(value) for value in values if rule.quote_of(value) is not None)
    return list(dict.fromkeys(key for key in keys if key))
