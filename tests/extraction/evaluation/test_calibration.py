"""A calibration fitted on labelled answers tells right from wrong ones that it has not seen."""

import json
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from extraction.documents import Piece
from extraction.errors import OperatorError
from extraction.evaluation.calibration import (
    Judged,
    LabelledCompany,
    calibration_error,
    fit_calibration,
    least_confidence,
    minima,
    reliability_bins,
)
from extraction.evaluation.labels import Label
from extraction.merging.confidence import Fitted
from extraction.merging.observations import seen
from extraction.prompting.logprobs import leaves
from extraction.prompting.reply_parsing import parse
from extraction.schema.company import ShortProfile
from extraction.schema.profile_model import facts

FITTED = Fitted(date="2026-01-01", model="m", profile="p", prompt="x", documents=1, companies=1, values=0, kinds={})
EMPTY: dict[str, Any] = {name: [] if name == "products" else None for name in ShortProfile.model_fields}


def company(number: int, kind: str, *, right: bool, chance: Random) -> LabelledCompany:
    """A company whose answer names it; a wrong name was written with less probability."""
    text = f"Alder {number} Ltd bought Birch {number} Ltd."
    name = f"{'Alder' if right else 'Birch'} {number} Ltd"
    reply = json.dumps({**EMPTY, "name": name, "kind": "organization"})
    scores = [-0.1] * leaves(json.loads(reply))
    scores[0] = -chance.uniform(0.01, 0.6) if right else -chance.uniform(0.4, 3)
    piece = Piece(f"d{number}", 0, len(text), 0, len(text), kind, None, "in#0")
    found = [("c", one) for one in seen(parse(reply, "stop", ShortProfile, scores), text, [piece])]
    return LabelledCompany(f"c{number}", kind, 1, found, {"name": Label((f"Alder {number} Ltd",))})


def companies(count: int, kinds: int) -> list[LabelledCompany]:
    chance = Random(7)
    return [company(n, f"kind {n % kinds}", right=chance.random() < 0.7, chance=chance) for n in range(count)]


@pytest.mark.parametrize("kinds", [1, 4])
def test_what_is_sure_is_right(kinds: int) -> None:
    calibration, judged = fit_calibration(ShortProfile, companies(200, kinds), FITTED, 0.95)
    assert len(judged) == calibration.fitted.values == 200
    assert set(calibration.fitted.kinds) == {f"kind {n}" for n in range(kinds)}
    sure = [one for one in judged if one.confidence >= calibration.min_confidence["default"]]
    assert sum(one.right for one in sure) / len(sure) >= 0.95
    assert sum(one.right for one in sure) >= 0.8 * sum(one.right for one in judged)
    assert calibration.chunk.weights["logprob"] > 0
    assert calibration_error(calibration.reliability) < 0.2


def test_the_same_answers_give_the_same_calibration() -> None:
    one, other = (
        fit_calibration(ShortProfile, some, FITTED, 0.95)[0] for some in (companies(90, 3), companies(90, 3)[::-1])
    )
    assert one.chunk.weights == pytest.approx(other.chunk.weights, abs=1e-3)
    assert one.min_confidence == pytest.approx(other.min_confidence, abs=2e-3)


@pytest.mark.parametrize("count", [0, 20])
def test_too_few_labels_are_the_operator_s_mistake(count: int) -> None:
    with pytest.raises(OperatorError, match="at least 50 are needed"):
        fit_calibration(ShortProfile, companies(count, 1), FITTED, 0.95)


def judged(*pairs: tuple[float, bool]) -> list[Judged]:
    return [Judged("k", str(n), "name", confidence, right) for n, (confidence, right) in enumerate(pairs)]


def test_labels_of_one_company_alone_are_the_operator_s_mistake() -> None:
    merged = companies(60, 1)
    names = Label(tuple(f"Alder {n} Ltd" for n in range(60)))
    alone = replace(merged[0], seen=[one for each in merged for one in each.seen], labels={"name": names})
    with pytest.raises(OperatorError, match="a fit needs others to judge them by"):
        fit_calibration(ShortProfile, [alone], FITTED, 0.95)


def test_the_threshold_is_the_least_confidence_that_is_precise_enough() -> None:
    rows = judged((0.9, True), (0.8, True), (0.7, False), (0.6, True), (0.5, True), (0.4, False))
    assert least_confidence(rows, 0.8) == 0.5
    assert least_confidence(rows, 0.9) == 0.8
    assert least_confidence(judged((0.9, False)), 0.5) == 1.0
    assert least_confidence(judged((0.9, True), (0.5, True), (0.5, False)), 0.6) == 0.5


def test_no_kind_with_many_values_may_be_much_worse_than_the_others() -> None:
    good = [Judged("good", "a", "name", 0.6, True)] * 1_000
    poor = [Judged("poor", "b", "name", 0.7, True)] * 20 + [Judged("poor", "b", "name", 0.65, False)] * 20
    assert least_confidence([*good, *poor], 0.95) == 0.6
    assert least_confidence([*good, *poor], 0.95, 0.85) == 0.7


def test_a_field_of_checkable_values_has_a_threshold_of_its_own_where_it_needs_one() -> None:
    fields = {field.name: field for field in facts(ShortProfile)}
    names = [Judged("k", "a", "name", 0.5, True)] * 500
    sites = [Judged("k", "a", "website", 0.9, True)] * 60 + [Judged("k", "a", "website", 0.6, False)] * 10
    assert minima(fields, [*names, *sites], 0.95) == {"default": 0.5, "website": 0.9}
    assert minima(fields, [*names, *sites[:60]], 0.95) == {"default": 0.5}
    assert minima(fields, names, 0.95) == {"default": 0.5}


def test_the_reliability_table_counts_values_of_about_the_same_confidence() -> None:
    bins = reliability_bins(judged((0.91, True), (0.99, False), (0.12, False), (1.0, True)))
    assert [(b.low, b.values, b.right) for b in bins] == [(0.1, 1, 0.0), (0.9, 3, 0.6667)]
    assert calibration_error(bins) == pytest.approx((0.12 + 3 * abs(0.9667 - 0.6667)) / 4, abs=1e-3)
