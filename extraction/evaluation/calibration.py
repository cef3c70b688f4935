"""Fitting a calibration: labelled answers become the two logistic models of `extraction.merging.confidence`.

Values are judged out of the fold that they were fitted in: a fold leaves out one kind of documents where there are
several, else a part of the companies. So the threshold and the reliability table are those of kinds that the fit
did not see. scikit-learn fits; at run time only coefficients are left.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from pydantic import BaseModel

from extraction.errors import OperatorError
from extraction.evaluation.labels import Label
from extraction.evaluation.scoring import FloatArray, Matcher
from extraction.merging.candidate_ranking import agreement, candidates, rank
from extraction.merging.confidence import Bin, Calibration, ChunkModels, Fitted, Logistic, Minima, features
from extraction.merging.evidence import Evidence
from extraction.merging.observations import Seen
from extraction.schema.profile_model import Field, facts

BINS = 10
LEAST_KINDS = 3  # to leave one out; of fewer, parts of the companies are left out
PARTS = 5
STRENGTH = 0.1  # how far the data moves the weights from 0: scikit-learn's C
EVENNESS = 0.25  # 0: every value counts the same, 1: every kind of documents does
BLIND = ("logprob", "subject", "outdone")  # what a server without log-probabilities does not tell
LEAST_SPREAD = 1e-9  # what a number that is always the same may differ by as it is summed
KIND_PRECISION, KIND_VALUES = 0.85, 30  # at least this share right in each kind with so many published values
CHECKED_PRECISION = 0.97  # of values that a standard can check, in fields with KIND_VALUES of them
LEAST_VALUES = 50  # right and wrong together, to fit anything


@dataclass
class LabelledCompany:
    """A labelled company: what its answers say, by chunk, and what is right. `kind` is that of its documents."""

    company_id: str
    kind: str
    documents: int
    seen: list[tuple[str, Seen]] = field(default_factory=list)
    labels: dict[str, Label] = field(default_factory=dict)


@dataclass(frozen=True)
class Judged:
    """The best value of a field of a company (each of a list), its confidence out of fold, and whether it is
    right."""

    kind: str
    company_id: str
    field: str
    confidence: float
    right: bool


@dataclass(frozen=True)
class FitRow:
    """A value in a chunk, or of a company, as a model is fitted on it."""

    kind: str
    company_id: str
    field: str
    numbers: Mapping[str, float]
    right: bool
    blind: bool = False


def fit_calibration(
    model: type[BaseModel], companies: Sequence[LabelledCompany], fitted: Fitted, precision: float
) -> tuple[Calibration, list[Judged]]:
    """A calibration for all companies, and their values as judged by models that did not see their fold.

    Raises OperatorError where there are too few labelled values, or only right or wrong ones.
    """
    truth = Truth(facts(model))
    rows = [row for company in companies for row in truth.chunk_rows(company)]
    if len(rows) < LEAST_VALUES or len({row.right for row in rows}) < 2:
        raise OperatorError(
            f"{len(rows):,} labelled values stand in the documents, {sum(row.right for row in rows):,} of them "
            f"right: at least {LEAST_VALUES} are needed, some right and some wrong"
        )
    folds = _folds(companies)
    out: dict[str, ChunkModels] = {}
    for fold in sorted(set(folds.values())):
        seen = [row for row in rows if folds[row.company_id] != fold]
        _require_some(seen, fold)
        out[fold] = _chunk_models(seen)
    ranked = [r for c in companies for r in truth.company_rows(c, out[folds[c.company_id]])]
    judged_rows: list[Judged] = []
    for fold in out:
        others = [r for r in ranked if folds[r.company_id] != fold]
        _require_some(others, fold)
        company_model = _logistic(others, by_field=False)
        judged_rows += [
            Judged(r.kind, r.company_id, r.field, company_model.of(r.numbers), r.right)
            for r in ranked
            if folds[r.company_id] == fold
        ]
    chunk = _chunk_models(rows)
    calibration = Calibration(
        fitted=fitted.model_copy(
            update={"values": len(judged_rows), "kinds": dict(Counter(r.kind for r in judged_rows))}
        ),
        chunk=chunk.sighted,
        chunk_without_logprobs=chunk.blind,
        company=_logistic(ranked, by_field=False),
        min_confidence=minima(truth.fields, judged_rows, precision),
        precision=precision,
        reliability=reliability_bins(judged_rows),
    )
    return calibration, judged_rows


class Truth(Matcher):
    """What is right of what was seen, as rows to fit a model on."""

    def chunk_rows(self, company: LabelledCompany) -> Iterator[FitRow]:
        """The labelled facts of a company's chunks that stand in its documents."""
        for _, seen in company.seen:
            name = seen.value.field.name
            if name in company.labels and seen.value.field.rule.verbatim and seen.place[0] >= 0:
                right = self.right(name, seen.value.key, company.labels[name])
                numbers = features(seen.signals)
                yield FitRow(company.kind, company.company_id, name, numbers, right, seen.signals.blind)

    def company_rows(self, company: LabelledCompany, models: ChunkModels) -> Iterator[FitRow]:
        """The best value of each labelled field, each of a list, as the chunks' model has it."""
        seen = ((chunk_id, one, models.of(one.signals, one.value.field.name)) for chunk_id, one in company.seen)
        evidence = Evidence(one.observation(chunk_id, probability) for chunk_id, one, probability in seen)
        trust = dict.fromkeys(evidence.documents, 1.0)
        dates = {d: date for d, (date, _) in evidence.documents.items()}
        for name, label in company.labels.items():
            rule = self.fields[name].rule
            if not rule.verbatim:
                continue
            ranked = [
                c for c in rank(rule, candidates(self.fields[name], evidence, trust, dates), trust) if c.grounded
            ]
            numbers = agreement(rule, ranked, trust)
            for one, its in list(zip(ranked, numbers, strict=True))[: None if rule.kind == "union" else 1]:
                yield FitRow(company.kind, company.company_id, name, its, self.right(name, one.key, label))


def _folds(companies: Sequence[LabelledCompany]) -> dict[str, str]:
    """The fold of each company: its kind, or with few kinds a part that its id decides."""
    kinds = {company.kind for company in companies}
    if len(kinds) >= LEAST_KINDS:
        return {company.company_id: company.kind for company in companies}
    ordered = sorted(company.company_id for company in companies)
    return {company_id: str(n % PARTS) for n, company_id in enumerate(ordered)}


def _require_some(rows: Sequence[FitRow], fold: str) -> None:
    if not rows:
        raise OperatorError(
            f"all labelled values are of {fold!r}, and a fit needs others to judge them by: label more companies, "
            "or more kinds of documents"
        )


def _chunk_models(rows: Sequence[FitRow]) -> ChunkModels:
    """The model of values with log-probabilities, and of those without: rows that have them serve both."""
    sighted = [row for row in rows if not row.blind] or rows
    return ChunkModels(_logistic(sighted), _logistic(rows, without=BLIND))


def _logistic(rows: Sequence[FitRow], *, by_field: bool = True, without: Sequence[str] = ()) -> Logistic:
    """A logistic model of rows; `EVENNESS` keeps a kind with many rows from deciding alone."""
    from sklearn.linear_model import LogisticRegression

    names = [name for name in rows[0].numbers if name not in without]
    ends = {(row.field, row.right) for row in rows if by_field}
    fields = sorted({name for name, right in ends if (name, not right) in ends})  # others tell nothing of their own
    matrix = np.array(
        [[*(row.numbers[n] for n in names), *(float(row.field == f) for f in fields)] for row in rows], np.float64
    )
    right = np.array([row.right for row in rows])
    if right.all() or not right.any():
        share = (right.sum() + 0.5) / (len(rows) + 1)
        return Logistic(intercept=float(np.log(share / (1 - share))), weights={})
    mean, spread = matrix.mean(axis=0), matrix.std(axis=0)
    spread[spread < LEAST_SPREAD] = 1.0
    made = LogisticRegression(C=STRENGTH, max_iter=5_000)
    made.fit((matrix - mean) / spread, right, sample_weight=_weights(rows))
    weights = made.coef_[0] / spread
    intercept = float(made.intercept_[0] - weights @ mean)
    numbers = [round(float(w), 4) for w in weights]
    return Logistic(
        intercept=round(intercept, 4),
        weights=dict(zip(names, numbers[: len(names)], strict=True)),
        fields=dict(zip(fields, numbers[len(names) :], strict=True)),
    )


def _weights(rows: Sequence[FitRow]) -> FloatArray:
    counts = Counter(row.kind for row in rows)
    weights: FloatArray = np.array([counts[row.kind] ** -EVENNESS for row in rows], np.float64)
    return weights / float(weights.mean())


def minima(fields: Mapping[str, Field], rows: Sequence[Judged], precision: float) -> Minima:
    """What values need to be published: what gives the precision over all and KIND_PRECISION in each kind of
    documents, and more for a field of checkable values that would be less than CHECKED_PRECISION right."""
    least = {"default": least_confidence(rows, precision, KIND_PRECISION)}
    for name, one in fields.items():
        its = [row for row in rows if row.field == name]
        kept = [row.right for row in its if row.confidence >= least["default"]]
        if one.rule.find and len(its) >= KIND_VALUES and sum(kept) < CHECKED_PRECISION * len(kept):
            least[name] = least_confidence(its, CHECKED_PRECISION)
    return least


def least_confidence(rows: Sequence[Judged], precision: float, of_each_kind: float = 0.0) -> float:
    """The least confidence at which a share of the values at it or above it is right, of all of them and of each
    kind with KIND_VALUES; 1 where there is none."""
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    short: set[str] = set()
    least, ordered = 1.0, sorted(rows, key=lambda row: -row.confidence)
    for row, below in zip(ordered, [*ordered[1:], None], strict=True):
        for group, share, size in (("", precision, 1), (f"kind {row.kind}", of_each_kind, KIND_VALUES)):
            count = counts[group]
            count[0] += 1
            count[1] += row.right
            (short.add if count[0] >= size and count[1] < share * count[0] else short.discard)(group)
        if not short and (below is None or below.confidence < row.confidence):
            least = row.confidence
    return math.floor(least * 1000) / 1000


def reliability_bins(rows: Sequence[Judged]) -> tuple[Bin, ...]:
    """How often values of about the same confidence are right, in BINS ranges."""
    by_bin: dict[int, list[Judged]] = defaultdict(list)
    for row in rows:
        by_bin[min(BINS - 1, int(row.confidence * BINS))].append(row)
    return tuple(
        Bin(
            low=n / BINS,
            high=(n + 1) / BINS,
            values=len(some),
            confidence=round(float(np.mean([row.confidence for row in some])), 4),
            right=round(float(np.mean([row.right for row in some])), 4),
        )
        for n, some in sorted(by_bin.items())
    )


def calibration_error(bins: Iterable[Bin]) -> float:
    """ECE: the mean distance of confidence from the share that is right, over all values. NaN without any."""
    known = list(bins)
    total = sum(one.values for one in known)
    return sum(one.values * abs(one.confidence - one.right) for one in known) / total if total else float("nan")
