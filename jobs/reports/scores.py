"""The scores of a run: its profiles against labels, its evidence, and its ledger."""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel

from extraction.config.settings import Columns
from extraction.errors import OperatorError
from extraction.evaluation.calibration import Judged, calibration_error, reliability_bins
from extraction.evaluation.labels import Label, Labels
from extraction.evaluation.scoring import (
    COUNTS,
    FieldCounts,
    Interval,
    Matcher,
    Mistake,
    Scorer,
    f1,
    shares,
)
from extraction.grounding.text_search import Text
from extraction.merging.confidence import Bin
from extraction.merging.evidence import Evidence
from extraction.merging.publish_decision import resolve
from extraction.schema.profile_model import Field, facts
from jobs.inputs import document_reader
from jobs.stages.reduce import NOT_ASKED, observed
from jobs.state.published_run import NO_KIND, PublishedRun, Values

ALL = "all fields"
THRESHOLDS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98)
PLAN_GONE = "the run's plan is gone: companies without a profile and rates are left out"
CompanyLabels = list[Label | None]


@dataclass(frozen=True)
class FieldScore:
    """One field, or all: its counts by name (see extraction.evaluation.scoring) and what they come to.

    `hallucination` is the share of inventions where no label stands in the documents.
    """

    field: str
    counts: dict[str, int]
    precision: Interval
    recall: Interval
    f1: float
    hallucination: Interval


@dataclass(frozen=True)
class KindScore:
    """The values of one kind of documents: how many are published, how many of these are right, and how many of the
    labels that stand in the documents were found."""

    kind: str
    companies: int
    given: int
    precision: Interval
    recall: Interval
    calibration_error: float


@dataclass(frozen=True)
class Threshold:
    """What publishing from a confidence on would give: the share of the right values that is kept, and
    precision."""

    confidence: float
    values: int
    kept: float
    precision: float


@dataclass
class Score:
    """All figures of a run. `rates` hold what could be known; `notes` says what could not.

    `kinds` are by document_type; `thresholds` and `reliability` are of the best value of each labelled field,
    published or not, and `calibration_error` is how far their confidence is from the share that is right (ECE).
    """

    companies: dict[str, int]
    fields: list[FieldScore]
    mistakes: list[Mistake]
    rates: dict[str, float]
    kinds: list[KindScore] = field(default_factory=list)
    thresholds: list[Threshold] = field(default_factory=list)
    reliability: list[Bin] = field(default_factory=list)
    calibration_error: float = math.nan
    notes: list[str] = field(default_factory=list)


def score(
    published: PublishedRun,
    model: type[BaseModel],
    labels: Labels,
    documents: str | None = None,
    *,
    alone: bool = False,
    by_kind: bool = False,
) -> Score:
    """Score a run; `documents` is its input, where labels are looked up. `alone` scores what the model gives where
    it stands in the documents and nothing else: no finder, no known company, no confidence.

    A labelled company counts when it was read: when it has a profile, or stands in the run's plan.
    """
    fields = _fields(model, labels)
    planned = published.planned()
    profiles, judged, rates = _profiles(published, model, labels, fields)
    read = sorted(labels.companies.keys() & (profiles.keys() | planned.keys()))
    if not read:
        raise OperatorError("none of the labelled companies was read in this run: check company_id")
    if alone:
        profiles = alone_profiles(published, model, read, planned)
    known = {company_id: [labels.label(company_id, field) for field in fields] for company_id in read}
    known |= _looked_up(known, fields, documents, published.manifest.columns) if documents else {}
    scorer = Scorer(fields)
    counts = {c: scorer.counts(profiles.get(c, {}), known[c]) for c in read}
    result = Score(
        {"labelled": len(labels.companies), "read": len(read), "with_profile": len(profiles)},
        _field_scores(fields, [counts[c] for c in read]),
        [m for c in read for m in scorer.mistakes(c, profiles.get(c, {}), known[c], counts[c])],
        rates,
        notes=_notes(labels, fields, documents),
    )
    if judged and not alone:
        result.thresholds = _thresholds(judged)
        result.reliability = list(reliability_bins(judged))
        result.calibration_error = calibration_error(result.reliability)
    if by_kind:
        result.kinds = _kinds(published.kinds(), counts, [] if alone else judged)
    if planned:
        answers = published.answers([chunk_id for ids in planned.values() for chunk_id in ids])
        result.rates |= _ledger_rates(answers, len({chunk_id for ids in planned.values() for chunk_id in ids}))
    else:
        result.notes.append(PLAN_GONE)
    return result


def _fields(model: type[BaseModel], labels: Labels) -> tuple[Field, ...]:
    """The fields that have labels."""
    names = [field.name for field in facts(model)]
    unknown = labels.names.keys() - set(names)
    if unknown:
        raise OperatorError(f"--map: the profile has no field {unknown.pop()!r}, it has {', '.join(names)}")
    labelled = tuple(field for field in facts(model) if labels.key(field))
    if not labelled:
        raise OperatorError(
            f"no label is called as a field is: the labels are {', '.join(sorted(labels.keys)) or 'none'}, the "
            f"fields {', '.join(names)}. Map them with --map FIELD=KEY"
        )
    return labelled


def _profiles(
    published: PublishedRun, model: type[BaseModel], labels: Labels, fields: Sequence[Field]
) -> tuple[dict[str, Values], list[Judged], dict[str, float]]:
    """The profiles of labelled companies, the best values of their labelled fields with whether they are right, and
    the share of the model's values in all profiles' evidence that stands in a document."""
    verbatim, matcher = {field.name for field in facts(model) if field.rule.verbatim}, Matcher(fields)
    profiles: dict[str, Values] = {}
    judged: list[Judged] = []
    given: Counter[bool] = Counter()
    for row in published.profiles():
        evidence = row.pop("evidence")
        given.update(one["grounded"] for one in evidence if one["field"] in verbatim and not one.get("found"))
        if row["company_id"] in labels.companies:
            profiles[row["company_id"]] = row
            judged += _judged(row["company_id"], evidence, labels, fields, matcher)
    return profiles, judged, {"grounded": given[True] / given.total()} if given else {}


def _judged(
    company_id: str, evidence: Sequence[Values], labels: Labels, fields: Sequence[Field], matcher: Matcher
) -> Iterator[Judged]:
    """The best value of each labelled fact of a company, each of a list."""
    for of in fields:
        label = labels.label(company_id, of)
        rows = [row for row in evidence if row["field"] == of.name and row["grounded"]]
        if label is None or not of.rule.verbatim:
            continue
        for row in rows if of.rule.kind == "union" else rows[:1]:
            value = json.loads(row["value"]) if of.rule.anchor else row["value"]
            right = matcher.right(of.name, of.rule.key_of(value), label)
            yield Judged("", company_id, of.name, row.get("confidence") or 0.0, right)


def alone_profiles(
    published: PublishedRun, model: type[BaseModel], companies: Sequence[str], planned: Mapping[str, Sequence[str]]
) -> dict[str, Values]:
    """What the model alone gives for some companies: its values that stand in the documents, all equally sure."""
    answers = published.answers([chunk_id for company_id in companies for chunk_id in planned.get(company_id, ())])
    by_chunk = {row["chunk_id"]: row for row in answers.to_pylist() if row["replies"]}
    evidence: dict[str, Evidence] = defaultdict(Evidence)
    for chunk in published.chunks(companies):
        for one in observed(model, chunk, by_chunk.get(chunk.chunk_id, NOT_ASKED)) or ():
            if not one.found:
                evidence[chunk.company_id].add(one._replace(probability=0.5))
    return {company_id: resolve(model, merged).values for company_id, merged in evidence.items()}


def _thresholds(judged: Sequence[Judged]) -> list[Threshold]:
    """What each of some confidences would publish."""
    right = max(1, sum(one.right for one in judged))
    rows = []
    for least in THRESHOLDS:
        kept = [one for one in judged if one.confidence >= least]
        right_kept = sum(one.right for one in kept)
        rows.append(Threshold(least, len(kept), right_kept / right, right_kept / len(kept) if kept else math.nan))
    return rows


def _kinds(
    kinds: Mapping[str, str], counts: Mapping[str, FieldCounts], judged: Sequence[Judged]
) -> list[KindScore]:
    """A score for each kind of documents, by the companies whose documents are mostly of it."""
    scores = []
    for kind in sorted({kinds.get(company_id, NO_KIND) for company_id in counts}):
        companies = [company_id for company_id in counts if kinds.get(company_id, NO_KIND) == kind]
        of = {name: np.stack([counts[c].sum(axis=0) for c in companies])[:, n] for n, name in enumerate(COUNTS)}
        (precision,) = shares(of["right"][:, None], of["given"][:, None])
        (recall,) = shares(of["found"][:, None], of["in_text"][:, None])
        error = calibration_error(reliability_bins([one for one in judged if one.company_id in set(companies)]))
        scores.append(KindScore(kind, len(companies), int(of["given"].sum()), precision, recall, error))
    return scores


def _looked_up(
    known: Mapping[str, CompanyLabels], fields: Sequence[Field], documents: str, columns: Columns
) -> dict[str, CompanyLabels]:
    """The labels of the companies that have documents, with those that stand there."""
    return {
        company_id: [at and _standing(at, of, texts) for of, at in zip(fields, known[company_id], strict=True)]
        for company_id, texts in _texts(documents, columns, known.keys()).items()
    }


def _standing(label: Label, of: Field, texts: Sequence[Text]) -> Label:
    return label.grounded_by(lambda value: any(text.find(of.rule.quote_of(value)) for text in texts))


def _texts(documents: str, columns: Columns, company_ids: Collection[str]) -> dict[str, list[Text]]:
    """The documents of some companies."""
    wanted = pa.array(sorted(company_ids), pa.string())
    texts: dict[str, list[Text]] = defaultdict(list)
    for rows in document_reader.document_rows(document_reader.find_input([documents], columns).parts, columns):
        rows = rows.filter(pc.is_in(rows["company_id"], value_set=wanted)).select(["company_id", "text"])
        for row in rows.to_pylist():
            texts[row["company_id"]].append(Text(row["text"] or ""))
    return texts


def _field_scores(fields: Sequence[Field], counts: Sequence[FieldCounts]) -> list[FieldScore]:
    """A score for each field, then for all together."""
    table = np.stack(counts)
    columns = np.concatenate([table, table.sum(axis=1, keepdims=True)], axis=1)
    of = {name: columns[:, :, number] for number, name in enumerate(COUNTS)}
    precisions, recalls = shares(of["right"], of["given"]), shares(of["found"], of["in_text"])
    inventions = shares(of["invented"], of["probes"])
    names, sums = [*(field.name for field in fields), ALL], columns.sum(axis=0)
    return [
        FieldScore(
            name,
            dict(zip(COUNTS, map(int, sums[n]), strict=True)),
            precisions[n],
            recalls[n],
            f1(precisions[n].value, recalls[n].value),
            inventions[n],
        )
        for n, name in enumerate(names)
    ]


def _ledger_rates(answers: pa.Table, chunks: int) -> dict[str, float]:
    """Shares of the chunks, and attempts for each that was asked."""
    rows = answers.select(["fault", "truncated", "looped", "attempts"]).to_pylist()
    asked = max(1, len(rows))
    return {
        "answered": sum(row["fault"] is None for row in rows) / max(1, chunks),
        "truncated": sum(row["truncated"] > 0 for row in rows) / asked,
        "looped": sum(row["looped"] > 0 for row in rows) / asked,
        "attempts": sum(row["attempts"] for row in rows) / asked,
    }


def _notes(labels: Labels, fields: Sequence[Field], documents: str | None) -> list[str]:
    """What labels leave open."""
    notes = []
    if not documents and not labels.mark_grounded:
        notes.append("no --documents and no in_text: all labels are taken to stand in the documents")
    unused = labels.keys - {labels.key(field) for field in fields}
    if unused:
        notes.append(f"labels that no field takes (--map FIELD=KEY): {', '.join(sorted(unused))}")
    return notes
