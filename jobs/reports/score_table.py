"""A score as a terminal shows it."""

import math
from typing import Any

from rich.console import Console

from extraction.evaluation.calibration import BINS
from extraction.evaluation.scoring import Interval
from jobs.cli.terminal_output import add_row, columns, plain
from jobs.reports.scores import ALL, Score

SCORE_COLUMNS = (
    "labelled",
    "in text",
    "given",
    "precision",
    "",
    "recall",
    "",
    "F1",
    "invented",
    "wrong",
    "missing",
)


RATE_MEANINGS = {
    "grounded": "of the model's values in the published evidence stand in a document",
    "answered": "of the chunks were answered",
    "truncated": "of the asked chunks were cut off at least once",
    "looped": "of the asked chunks repeated themselves at least once",
}


WIDTH_OF_VALUE = 70


def show_score(out: Console, score: Score) -> None:
    """The table of fields, then the rates, then what could not be known."""
    table = columns(["field"], SCORE_COLUMNS)
    for row in score.fields:
        of = row.counts
        add_row(
            table,
            row.field,
            *(f"{of[name]:,}" for name in ("labelled", "in_text", "given")),
            *_with_interval(row.precision),
            *_with_interval(row.recall),
            _figure(row.f1),
            f"{of['invented']:,} of {of['probes']:,}",
            f"{of['given'] - of['right']:,}",
            f"{of['in_text'] - of['found']:,}",
            style="bold" if row.field == ALL else None,
        )
    out.print(table)
    if score.kinds:
        _show_kinds(out, score)
    _show_rates(out, score)
    if score.thresholds:
        _show_thresholds(out, score)
    for note in score.notes:
        out.print(f"note         {note}", style="dim")


def _show_kinds(out: Console, score: Score) -> None:
    """A row for each kind of documents."""
    table = columns(["kind"], ["companies", "given", "precision", "", "recall", "", "ECE"])
    for row in score.kinds:
        figures = (*_with_interval(row.precision), *_with_interval(row.recall), _figure(row.calibration_error))
        add_row(table, row.kind, f"{row.companies:,}", f"{row.given:,}", *figures)
    out.print(table)


def _show_thresholds(out: Console, score: Score) -> None:
    """What other thresholds would publish of the best values, and how well confidence holds."""
    table = columns([], ["confidence from", "values", "right ones kept", "precision"])
    for row in score.thresholds:
        add_row(table, f"{row.confidence:.2f}", f"{row.values:,}", f"{row.kept:.3f}", _figure(row.precision))
    out.print(table)
    out.print(f"calibration  {_figure(score.calibration_error)} expected calibration error (ECE, {BINS} bins)")


def _show_rates(out: Console, score: Score) -> None:
    of = score.companies
    out.print(
        f"companies    {of['labelled']:,} labelled, {of['read']:,} read, {of['with_profile']:,} with a profile"
    )
    probes = score.fields[-1].hallucination
    out.print(f"invented     {_figure(probes.value)} {_span(probes)} of the fields whose label stands nowhere")
    for name, what in RATE_MEANINGS.items():
        if name in score.rates:
            out.print(f"{name:<12} {_figure(score.rates[name])} {what}")
    if "attempts" in score.rates:
        out.print(f"attempts     {score.rates['attempts']:.2f} a chunk")


def show_mistakes(out: Console, score: Score, most: int) -> None:
    """The first mistakes of each field: what was published, and what is right."""
    for row in score.fields:
        for mistake in [m for m in score.mistakes if m.field == row.field][:most]:
            published, right = (_listed(values) for values in (mistake.published, mistake.labels))
            line = f"{mistake.field:<14} {mistake.kind:<9} {mistake.company_id}: {published}  |  {right}"
            out.print(plain(line))


def _listed(values: tuple[Any, ...]) -> str:
    return ", ".join(map(str, values))[:WIDTH_OF_VALUE] or "-"


def _with_interval(share: Interval) -> tuple[str, str]:
    return _figure(share.value), _span(share)


def _span(share: Interval) -> str:
    return "" if math.isnan(share.low) else f"{share.low:.2f}-{share.high:.2f}"


def _figure(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"
