"""Confidence: the probability that a value is right for its company and field.

Two logistic models, fitted on labelled documents (`jobs/calibrate.py`) and stored as data with what they were
fitted on. The first judges a value in one chunk by its signals: the log-probability of its tokens, how it stands in
the text, what else the answer holds. The second judges it over all documents of the company: how sure the best
chunk is, how many documents agree, how many say something else.

    p(value in a chunk)  = sigmoid(intercept + field + sum(weight * signal))
    p(value of a company) = sigmoid(intercept + sum(weight * signal))

Without a calibration the same signals give a score, which is no probability: it orders values, and says so.
"""

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, NamedTuple

from pydantic import Field

from extraction.settings_base import Frozen

SOFTENED = 0.02  # log-probabilities nearer to 0 than this are equally sure
NO_LOGPROB = -8.0  # taken for the log-probability of what the answer does not hold
MOST_SURE = 0.999  # no value is surer than the labels could tell

Probability = Annotated[float, Field(ge=0, le=1)]
Minima = dict[str, Probability]  # by dotted path of a field, `default` for the others


def minimum_of(minima: Minima, field: str) -> float:
    """What a value of a field needs to be published."""
    return minima.get(field, minima["default"])


class Signals(NamedTuple):
    """What is known of a value in one chunk.

    logprob: of the value's tokens; None where the server gave none, or the model did not give the value.
    subject: log-probability of the answer's word for what the text is about; None without such a field.
    exact: it stands in the text letter by letter, not only but for case, accents, signs or a misspelling.
    grounded: how many other values of the answer stand in the text.
    given: the model gave it, not only a finder.
    rivals: of a value that a finder reads, how many others of its kind in the text may as well be meant.
    akin: it is a web or mail address like the company's name.
    outdone: another field of the answer gives the same words at least as surely.
    known: the input names the company, and the answer (of a finder's value: the text) has that name.
    """

    logprob: float | None = None
    subject: float | None = None
    exact: bool = True
    grounded: int = 0
    given: bool = True
    rivals: int = 0
    akin: bool = False
    outdone: bool = False
    known: bool = False

    @property
    def blind(self) -> bool:
        """Whether the model gave the value and the server no log-probability for it."""
        return self.given and self.logprob is None


@lru_cache(maxsize=65_536)
def surprise(logprob: float | None) -> float:
    """A log-probability on a scale on which odds of being right are about linear: 0 is -1, sure ones are above."""
    return -math.log(SOFTENED - (NO_LOGPROB if logprob is None else max(NO_LOGPROB, min(0.0, logprob))))


def features(signals: Signals) -> dict[str, float]:
    """The numbers that a value in a chunk is judged by."""
    return {
        "logprob": surprise(signals.logprob),
        "subject": surprise(signals.subject),
        "inexact": not signals.exact,
        "grounded": math.log1p(signals.grounded),
        "rivals": math.log1p(signals.rivals),
        "akin": signals.akin,
        "outdone": signals.outdone,
        "known": signals.known,
    }


class Logistic(Frozen):
    """A fitted logistic model; a field that it was not fitted on has none of `fields`."""

    intercept: float
    weights: Mapping[str, float]
    fields: Mapping[str, float] = Field(default_factory=dict)

    def of(self, numbers: Mapping[str, float], field: str = "") -> float:
        """The probability for some numbers by name."""
        total = self.intercept + self.fields.get(field, 0.0)
        total += sum([weight * numbers[name] for name, weight in self.weights.items()])
        return min(MOST_SURE, sigmoid(total))


class ChunkModels(NamedTuple):
    """The models of values with log-probabilities and of those without."""

    sighted: Logistic
    blind: Logistic

    def of(self, signals: Signals, field: str) -> float:
        """The probability that a value is right, as far as one chunk tells."""
        return (self.blind if signals.blind else self.sighted).of(features(signals), field)


class Bin(Frozen):
    """A row of the reliability table: values whose confidence is in a range, their mean, and how many were
    right."""

    low: Probability
    high: Probability
    values: Annotated[int, Field(ge=0)]
    confidence: Probability
    right: Probability


class Fitted(Frozen):
    """What a calibration was fitted on."""

    date: str
    model: str
    profile: str
    prompt: str
    documents: Annotated[int, Field(ge=0)]
    companies: Annotated[int, Field(ge=0)]
    values: Annotated[int, Field(ge=0)]
    kinds: Mapping[str, int] = Field(default_factory=dict)

    def misfit(self, *, model: str, profile: str, prompt: str) -> str | None:
        """Why it says nothing of answers to this prompt by this model; None where it does."""
        pairs = {"model": (self.model, model), "profile": (self.profile, profile), "prompt": (self.prompt, prompt)}
        differences = (
            f"the {what} {theirs}, the run has {own}" for what, (theirs, own) in pairs.items() if theirs != own
        )
        return next((f"the calibration was fitted for {each}" for each in differences), None)


class Calibration(Frozen):
    """How signals become probabilities, for one language model, profile and prompt. `min_confidence` is what a
    value needs so that `precision` of the published values were right on the documents of the fit (see
    `extraction.evaluation.calibration.minima`)."""

    fitted: Fitted
    chunk: Logistic
    chunk_without_logprobs: Logistic
    company: Logistic
    min_confidence: Minima
    precision: Probability
    reliability: tuple[Bin, ...] = ()

    def of_chunk(self, signals: Signals, field: str) -> float:
        """The probability that a value is right, as far as one chunk tells."""
        return (self.chunk_without_logprobs if signals.blind else self.chunk).of(features(signals), field)


def uncalibrated(signals: Signals) -> float:
    """A score from 0 to 1 that orders values where no calibration is at hand; it is no probability."""
    if signals.logprob is None:
        return 0.5
    return min(MOST_SURE, math.exp(max(NO_LOGPROB, signals.logprob)))


def of_company(best: float, share: float, documents: int) -> dict[str, float]:
    """The numbers that a value of a company is judged by: its best chunk's probability, the share of its support
    among all values of the field, and how many documents give it."""
    return {"best": logit(best), "share": share, "documents": math.log(max(1, documents))}


def sigmoid(x: float) -> float:
    """The logistic function."""
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def logit(p: float) -> float:
    """Its inverse, bounded."""
    p = min(MOST_SURE, max(1 - MOST_SURE, p))
    return math.log(p / (1 - p))
