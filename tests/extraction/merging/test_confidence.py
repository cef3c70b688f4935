"""Confidence is a probability from signals, the same for the same signals, and more for surer ones."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extraction.merging.confidence import (
    MOST_SURE,
    Calibration,
    Logistic,
    Signals,
    features,
    logit,
    of_company,
    sigmoid,
    surprise,
    uncalibrated,
)
from extraction.merging.evidence import Evidence
from extraction.merging.publish_decision import Judge, resolve
from tests.extraction.samples import Vineyard, observation

FITTED = {
    "date": "2026-01-01",
    "model": "m",
    "profile": "p",
    "prompt": "x",
    "documents": 9,
    "companies": 9,
    "values": 9,
}
PLAIN = Logistic(intercept=0.0, weights={"best": 1.0})
SIGNALS = st.builds(
    Signals,
    logprob=st.none() | st.floats(-50, 0),
    subject=st.none() | st.floats(-50, 0),
    exact=st.booleans(),
    grounded=st.integers(0, 40),
    given=st.booleans(),
    rivals=st.integers(0, 40),
    akin=st.booleans(),
    outdone=st.booleans(),
    known=st.booleans(),
)


def calibration(**changes: Any) -> Calibration:
    """A calibration in which a company's confidence is its best chunk's."""
    plain: dict[str, Any] = {
        "fitted": FITTED,
        "chunk": Logistic(intercept=0.0, weights={"logprob": 2.0}, fields={"name": 0.5}),
        "chunk_without_logprobs": Logistic(intercept=-1.0, weights={"grounded": 1.0}),
        "company": PLAIN,
        "min_confidence": {"default": 0.8},
        "precision": 0.95,
    }
    return Calibration.model_validate({**plain, **changes})


@given(SIGNALS)
def test_any_signals_have_a_probability(signals: Signals) -> None:
    made = calibration(chunk=Logistic(intercept=0.3, weights=dict.fromkeys(features(signals), 0.7)))
    for probability in (made.of_chunk(signals, "name"), made.of_chunk(signals, "unseen"), uncalibrated(signals)):
        assert 0 <= probability <= MOST_SURE


@given(st.floats(-20, 0), st.floats(-20, 0))
def test_a_value_is_surer_the_surer_the_model_was_of_its_tokens(one: float, other: float) -> None:
    low, high = sorted((one, other))
    made = calibration()
    assert made.of_chunk(Signals(logprob=low), "name") <= made.of_chunk(Signals(logprob=high), "name")
    assert surprise(low) <= surprise(high)
    assert uncalibrated(Signals(logprob=low)) <= uncalibrated(Signals(logprob=high))


def test_a_server_without_log_probabilities_has_a_model_of_its_own() -> None:
    made = calibration()
    assert made.of_chunk(Signals(logprob=None, grounded=0), "name") == pytest.approx(sigmoid(-1))
    assert made.of_chunk(Signals(logprob=None, given=False), "name") == pytest.approx(
        sigmoid(0.5 + 2 * surprise(None))
    )


@given(st.floats(0.001, 0.999))
def test_the_logistic_function_has_an_inverse(p: float) -> None:
    assert sigmoid(logit(p)) == pytest.approx(p, abs=1e-6)
    assert sigmoid(-800) == 0 and sigmoid(800) == 1


def test_the_numbers_of_a_company() -> None:
    assert of_company(0.5, 0.25, 1) == {"best": 0.0, "share": 0.25, "documents": 0.0}
    assert of_company(0.0, 1.0, 10)["documents"] == pytest.approx(math.log(10))


def test_what_is_not_sure_enough_stays_in_the_evidence_with_its_number() -> None:
    said = [observation("cellar.opened", 1874, start=3, probability=0.7)]
    sure = resolve(Vineyard, Evidence(said), judge=Judge(calibration(), lambda field: 0.6))
    assert (sure.values["cellar"]["opened"], sure.confidence["cellar"]["opened"]) == (1874, 0.7)
    unsure = resolve(Vineyard, Evidence(said), judge=Judge(calibration(), lambda field: 0.8))
    assert (unsure.values["cellar"]["opened"], unsure.confidence["cellar"]["opened"]) == (None, None)
    (row,) = unsure.evidence
    assert (row["value"], row["chosen"], row["grounded"], row["confidence"]) == ("1874", False, True, 0.7)


def test_the_least_sure_item_of_a_list_is_its_confidence() -> None:
    said = [observation("grapes", "Rufete", start=3, probability=0.9), observation("grapes", "Sousão", start=9)]
    found = resolve(Vineyard, Evidence(said), judge=Judge(calibration(), lambda field: 0.2))
    assert (found.values["grapes"], found.confidence["grapes"]) == (["Rufete", "Sousão"], 0.5)


def test_a_reading_needs_no_confidence_and_has_none() -> None:
    found = resolve(
        Vineyard, Evidence([observation("style", "red")]), judge=Judge(calibration(), lambda field: 0.9)
    )
    assert (found.values["style"], found.confidence["style"]) == ("red", None)


def test_rivals_share_what_speaks_for_a_field() -> None:
    made = calibration(company=Logistic(intercept=-2.0, weights={"share": 4.0}))
    alone = resolve(Vineyard, Evidence([observation("owner", "Ana Brandt", start=1)]), judge=Judge(made))
    both = [observation("owner", "Ana Brandt", start=1), observation("owner", "Quinta Nova", "d2", start=1)]
    alike = [both[0], observation("owner", "Ana Brandt Vinhos", "d2", start=1)]
    assert alone.confidence["owner"] == pytest.approx(sigmoid(2), abs=1e-3)
    assert resolve(Vineyard, Evidence(both), judge=Judge(made)).confidence["owner"] == pytest.approx(0.5)
    assert resolve(Vineyard, Evidence(alike), judge=Judge(made)).confidence["owner"] > 0.8
