"""Charts as SVG in the page: Vega-Lite draws them when the report is written, so the page does without its script.

Colours are the page's own variables, so charts follow its light and dark.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import vl_convert
from markupsafe import Markup

from extraction.merging.confidence import Bin
from jobs.reports.request_stats import LATENCY_EDGES, Answers

VEGA_LITE = "6.4"
CHART_WIDE, CHART_NARROW, CARD = 1030, 300, 300  # pixels of the plot, without its axis
BARS = {CHART_WIDE: 100, CHART_NARROW: 40}  # at the most; a bar of few answers says little
ANSWERS_A_BAR = 4
FEWEST_BARS = 12
COLOURS = 7  # servers with a colour of their own; what others did is one more
OTHER_SERVERS = "other servers"
STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800, 604800]
CLOCK = (
    "datum.value < 3600 ? floor(datum.value / 60) + ':' + format(datum.value % 60, '02d')"
    " : floor(datum.value / 3600) + ':' + format(floor(datum.value / 60) % 60, '02d') + ' h'"
)
SECONDS = (
    "datum.value < 60 ? datum.value + ' s'"
    " : datum.value < 3600 ? datum.value / 60 + ' min' : datum.value / 3600 + ' h'"
)
LATENCIES = {  # where an axis of seconds may have ticks, by the decades that it spans
    1: [t * 10.0**n for n in range(-3, 2) for t in (1, 2, 3, 5)] + [60, 90, 120, 180, 300, 600, 900, 1800, 3600],
    2: [t * 10.0**n for n in range(-3, 1) for t in (1, 3)] + [10, 30, 60, 180, 600, 1800, 3600, 10800, 36000],
    3: [0.001, 0.01, 0.1, 1, 10, 60, 600, 3600, 36000],
}
Spec = dict[str, Any]
CONFIG: Spec = {
    "background": None,
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "bar": {"binSpacing": 0},
    "axis": {
        "labelColor": "var(--muted)",
        "titleColor": "var(--muted)",
        "gridColor": "var(--line)",
        "domainColor": "var(--line)",
        "tickColor": "var(--line)",
        "labelFontSize": 11,
        "titleFontSize": 11,
        "titleFontWeight": "normal",
        "domain": False,
        "ticks": False,
        "labelPadding": 6,
    },
}


@dataclass(frozen=True)
class Chart:
    """A chart for wide screens and one for narrow ones, and what its colours mean, in their order."""

    wide: Markup
    narrow: Markup | None = None
    legend: tuple[str, ...] = ()


def unit(rate: float) -> tuple[str, int]:
    """A rate's unit of time, and its seconds: a second where more than two things happen in it, else a minute."""
    return ("a second", 1) if rate > 2 else ("a minute", 60)


def throughput(answers: Answers) -> Chart:
    """Chunks a second or a minute (`unit`) over time, by server."""
    names = [work.server for work in answers.servers][:COLOURS]
    legend = (*names, *([OTHER_SERVERS] if len(answers.servers) > len(names) else []))
    moments = answers.moments
    known = pc.is_in(moments["server"], value_set=pa.array(names, pa.string()))
    counts = {
        "server": pc.if_else(known, moments["server"], OTHER_SERVERS),
        "moment": moments["moment"],
        "rate": pc.multiply(unit(answers.rate)[1], pc.add(moments["answers"], moments["failed"])),
    }
    table = pa.table(counts).group_by(["server", "moment"]).aggregate([("rate", "sum")])
    rows = table.rename_columns({"rate_sum": "rate"}).to_pylist()
    wide, narrow = (_over_time(answers, rows, "server", legend, width, 180) for width in (CHART_WIDE, CHART_NARROW))
    return Chart(wide, narrow, legend)


def tokens(answers: Answers) -> Chart:
    """Tokens a second over time: prompts from the servers' cache, the rest of them, and output."""
    moments = answers.moments
    counts = {
        "from the cache": moments["cached_tokens"],
        "read anew": pc.subtract(moments["prompt_tokens"], moments["cached_tokens"]),
        "written": moments["completion_tokens"],
    }
    table = pa.table({"moment": moments["moment"], **counts}).group_by("moment")
    sums = table.aggregate([(kind, "sum") for kind in counts]).to_pylist()
    rows = [{"moment": row["moment"], "kind": kind, "rate": row[f"{kind}_sum"]} for kind in counts for row in sums]
    return Chart(_over_time(answers, rows, "kind", tuple(counts), CARD, 160), legend=tuple(counts))


def latency(answers: Answers) -> Chart:
    """How many answers took how long, with the median and the 95th percentile."""
    joined = 10  # fine bins to a bar: 60 % from one edge to the next
    counts = answers.latency.reshape(-1, joined).sum(axis=1)
    edges = LATENCY_EDGES[::joined]
    (there,) = np.nonzero(counts)
    rows = [{"from": edges[n], "to": edges[n + 1], "answers": int(counts[n])} for n in there]
    marks = [
        {"at": answers.quantile(share), "label": label}
        for share, label in ((0.5, "median"), (0.95, "95 %"))
        if rows
    ]
    low, high = (edges[there[0]], edges[there[-1] + 1]) if rows else (0.1, 1)
    decades = min(3, max(1, round(float(np.log10(high / low)))))
    ticks = [t for t in LATENCIES[decades] if low <= t <= high]
    x = {
        "field": "from",
        "type": "quantitative",
        "scale": {"type": "log", "domain": [low, high], "nice": False},
        "axis": {"title": None, "grid": False, "values": ticks, "labelExpr": SECONDS},
    }
    bars: Spec = {
        "data": {"values": rows},
        "mark": {"type": "bar", "orient": "vertical", "color": "var(--c1)"},
        "encoding": {
            "x": x,
            "x2": {"field": "to"},
            "y": {"field": "answers", "type": "quantitative", "axis": {"title": None, "tickCount": 4}},
        },
    }
    rules: Spec = {
        "data": {"values": marks},
        "encoding": {"x": {**x, "field": "at"}},
        "layer": [
            {"mark": {"type": "rule", "color": "var(--ink)", "strokeDash": [3, 3]}},
            {
                "mark": {"type": "text", "y": -9, "color": "var(--muted)", "fontSize": 11},
                "encoding": {"text": {"field": "label"}},
            },
        ],
    }
    return Chart(_draw({"width": CARD, "height": 160, "layer": [bars, rules]}))


def reliability_chart(bins: Sequence[Bin]) -> Chart:
    """How often values of about the same confidence are right: on the diagonal where confidence holds."""
    rows = [{"confidence": b.confidence, "right": b.right, "values": b.values} for b in bins]
    share = {
        "type": "quantitative",
        "scale": {"domain": [0, 1]},
        "axis": {"title": None, "format": "%", "tickCount": 5},
    }
    line: Spec = {
        "data": {"values": [{"at": 0}, {"at": 1}]},
        "mark": {"type": "line", "color": "var(--muted)", "strokeDash": [3, 3]},
        "encoding": {"x": {**share, "field": "at"}, "y": {**share, "field": "at"}},
    }
    points: Spec = {
        "data": {"values": rows},
        "mark": {"type": "circle", "color": "var(--c1)", "opacity": 1},
        "encoding": {
            "x": {**share, "field": "confidence"},
            "y": {**share, "field": "right"},
            "size": {"field": "values", "type": "quantitative", "legend": None, "scale": {"range": [20, 400]}},
        },
    }
    return Chart(_draw({"width": CARD, "height": CARD, "layer": [line, points]}))


def _over_time(
    answers: Answers, rows: list[Spec], kind: str, kinds: Sequence[str], width: int, height: int
) -> Markup:
    """Bars over time, stacked by kind: the counts of moments (`rate`) are joined and become those of a second."""
    first = min((row["moment"] for row in rows), default=0)
    rows = [{**row, "from": (row["moment"] - first) * answers.width_s} for row in rows]
    end = max((row["from"] for row in rows), default=0.0)
    step = next((s for s in STEPS if end / s <= (9 if width == CHART_WIDE else 4)), STEPS[-1])
    bars = max(FEWEST_BARS, min(BARS[width], answers.done // ANSWERS_A_BAR))
    return _draw(
        {
            "width": width,
            "height": height,
            "data": {"values": rows},
            "transform": [
                {"bin": {"maxbins": bars}, "field": "from", "as": ["from", "to"]},
                {
                    "aggregate": [{"op": "sum", "field": "rate", "as": "rate"}],
                    "groupby": ["from", "to", kind],
                },
                {"calculate": "datum.rate / (datum.to - datum.from)", "as": "rate"},
            ],
            "mark": {"type": "bar", "orient": "vertical"},
            "encoding": {
                "x": {
                    "field": "from",
                    "type": "quantitative",
                    "scale": {"nice": False},
                    "axis": {
                        "title": None,
                        "grid": False,
                        "values": list(np.arange(0, end, step)),
                        "labelExpr": CLOCK,
                        "labelBound": True,
                    },
                },
                "x2": {"field": "to"},
                "y": {
                    "field": "rate",
                    "type": "quantitative",
                    "stack": True,
                    "axis": {"title": None, "tickCount": 4, "format": "~s"},
                },
                "color": {
                    "field": kind,
                    "scale": {"domain": list(kinds), "range": [f"var(--c{n + 1})" for n in range(len(kinds))]},
                    "legend": None,
                },
            },
        }
    )  # fmt: skip


def _draw(spec: Spec) -> Markup:
    """SVG of a specification. Nothing is fetched for it."""
    svg = vl_convert.vegalite_to_svg(
        {**spec, "padding": {"left": 0, "right": 4, "top": 14, "bottom": 0}, "config": CONFIG},
        vl_version=VEGA_LITE,
        allowed_base_urls=[],
    )
    return Markup(svg)
