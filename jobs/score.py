"""The score of a run: its profiles against labels, and what its evidence and ledger tell of themselves."""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel

from extraction.errors import OperatorError
from extraction.fields import Field, facts
from extraction.figures import Share, f1, shares
from extraction.grounding import Text
from extraction.labels import Label, Labels
from extraction.scoring import COUNTS, Counts, Mistake, Scorer
from extraction.settings import Columns
from jobs import intake
from jobs.gathering import observed
from jobs.merge_gain import MergeGain, merge_gain
from jobs.published import Published, Values

ALL = "all fields"
CHUNKS_LOOKED_UP = 5_000  # answers whose values are counted by whether they stand in the text: minutes at most
NO_PLAN = "the run's plan is gone: companies without a profile, rates and merge gain are left out"
OF_ANOTHER_VERSION = "the ledger is of another version: its rates and merge gain are left out"
OF_EVIDENCE = "grounded is of the published evidence, the best values of each field, not of all that answers gave"
CompanyLabels = list[Label | None]


@dataclass(frozen=True)
class FieldScore:
    """One field, or all: its counts by name (see extraction.scoring) and what they come to.

    `hallucination` is the share of inventions where no label stands in the documents.
    """

    field: str
    counts: dict[str, int]
    precision: Share
    recall: Share
    f1: float
    hallucination: Share


@dataclass
class Score:
    """All that is told of a run. `rates` and `merge_gain` hold what could be known; `notes` says what could not."""

    companies: dict[str, int]
    fields: list[FieldScore]
    mistakes: list[Mistake]
    rates: dict[str, float]
    merge_gain: MergeGain | None = None
    notes: list[str] = field(default_factory=list)


def score(published: Published, model: type[BaseModel], labels: Labels, documents: str | None = None) -> Score:
    """Score a run; `documents` is its input, where labels are looked up.

    A labelled company counts when it was read: when it has a profile, or stands in the run's plan.
    """
    fields = _fields(model, labels)
    planned = published.planned()
    profiles, rates = _profiles(published, model, labels)
    read = sorted(labels.companies.keys() & (profiles.keys() | planned.keys()))
    if not read:
        raise OperatorError("none of the labelled companies was read in this run: check company_id")
    known = {company_id: [labels.label(company_id, field) for field in fields] for company_id in read}
    known |= _looked_up(known, fields, documents, published.manifest.columns) if documents else {}
    scorer = Scorer(fields)
    counts = {c: scorer.counts(profiles.get(c, {}), known[c]) for c in read}
    found = Score(
        {"labelled": len(labels.companies), "read": len(read), "with_profile": len(profiles)},
        _field_scores(fields, [counts[c] for c in read]),
        [m for c in read for m in scorer.mistakes(c, profiles.get(c, {}), known[c], counts[c])],
        rates,
        notes=_notes(labels, fields, documents),
    )
    answers = published.answers([chunk_id for ids in planned.values() for chunk_id in ids]) if planned else None
    replies: dict[str, list[str]] = {}
    if answers is None:
        found.notes.append(OF_ANOTHER_VERSION if planned else NO_PLAN)
    else:
        replies = {row["chunk_id"]: row["replies"] for row in answers.to_pylist() if row["replies"]}
        found.rates |= _ledger_rates(answers, sum(map(len, planned.values())))
        several = {company_id: known[company_id] for company_id in read if len(planned.get(company_id, ())) > 1}
        found.merge_gain = merge_gain(published, model, scorer, several, counts, replies)
    standing = _grounded(published, model, replies)
    if not standing and "grounded" in found.rates:
        found.notes.append(OF_EVIDENCE)
    found.rates |= standing
    return found


def _grounded(
    published: Published, model: type[BaseModel], replies: Mapping[str, Collection[str]]
) -> dict[str, float]:
    """The share of the values in answers that stand in their chunk's text; nothing where there are none.

    Ids are digests, so the first of them are a fair sample.
    """
    verbatim = _verbatim(model)
    counted: Counter[bool] = Counter()
    for chunk in published.chunks(sorted(replies)[:CHUNKS_LOOKED_UP], of="chunk_id"):
        stands: dict[tuple[str, str], bool] = {}  # a value has an observation for each document of a pack
        for one in observed(model, chunk, replies[chunk.chunk_id]) or ():
            if one.field in verbatim and not one.stated:
                value = one.field, one.key
                stands[value] = stands.get(value, False) or one.grounded
        counted.update(stands.values())
    return _share_of(counted)


def _share_of(counted: Counter[bool]) -> dict[str, float]:
    return {"grounded": counted[True] / counted.total()} if counted else {}


def _verbatim(model: type[BaseModel]) -> set[str]:
    return {field.name for field in facts(model) if field.rule.verbatim}


def _fields(model: type[BaseModel], labels: Labels) -> tuple[Field, ...]:
    """The fields that have labels."""
    names = [field.name for field in facts(model)]
    unknown = labels.names.keys() - set(names)
    if unknown:
        raise OperatorError(f"--map: the profile has no field {unknown.pop()!r}, it has {', '.join(names)}")
    found = tuple(field for field in facts(model) if labels.key(field))
    if not found:
        raise OperatorError(
            f"no label is called as a field is: the labels are {', '.join(sorted(labels.keys)) or 'none'}, the "
            f"fields {', '.join(names)}. Map them with --map FIELD=KEY"
        )
    return found


def _profiles(
    published: Published, model: type[BaseModel], labels: Labels
) -> tuple[dict[str, Values], dict[str, float]]:
    """The profiles of labelled companies, and the share of all profiles' evidence that stands in a document."""
    verbatim = _verbatim(model)
    profiles: dict[str, Values] = {}
    given: Counter[bool] = Counter()
    for row in published.profiles():
        given.update(one["grounded"] for one in row.pop("evidence") if one["field"] in verbatim)
        if row["company_id"] in labels.companies:
            profiles[row["company_id"]] = row
    return profiles, _share_of(given)


def _looked_up(
    known: Mapping[str, CompanyLabels], fields: Sequence[Field], documents: str, columns: Columns
) -> dict[str, CompanyLabels]:
    """The labels of the companies that have documents, with those that stand there."""
    return {
        company_id: [at and _standing(at, of, texts) for of, at in zip(fields, known[company_id], strict=True)]
        for company_id, texts in _texts(documents, columns, known.keys()).items()
    }


def _standing(label: Label, of: Field, texts: Sequence[Text]) -> Label:
    return label.found_by(lambda value: any(text.find(of.rule.quote_of(value)) for text in texts))


def _texts(documents: str, columns: Columns, company_ids: Collection[str]) -> dict[str, list[Text]]:
    """The documents of some companies."""
    wanted = pa.array(sorted(company_ids), pa.string())
    texts: dict[str, list[Text]] = defaultdict(list)
    for part in intake.find([documents], columns).parts:
        for rows in intake.read(part, columns):
            rows = rows.filter(pc.is_in(rows["company_id"], value_set=wanted)).select(["company_id", "text"])
            for row in rows.to_pylist():
                texts[row["company_id"]].append(Text(row["text"] or ""))
    return texts


def _field_scores(fields: Sequence[Field], counts: Sequence[Counts]) -> list[FieldScore]:
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
    if not documents and not labels.tell_standing:
        notes.append("no --documents and no in_text: all labels are taken to stand in the documents")
    unused = labels.keys - {labels.key(field) for field in fields}
    if unused:
        notes.append(f"labels that no field takes (--map FIELD=KEY): {', '.join(sorted(unused))}")
    return notes
