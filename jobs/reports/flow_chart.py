"""The flow of a run as SVG: documents, their chunks, and what became of both, each as wide as its share."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from jobs.state.manifest import Counts

BAR = 10  # pixels across a bar
LEAST_WIDTH = 3  # pixels of what is there at all
FLOW_WIDE, ALONG = 1080, 150  # of the drawing, and of all documents
FLOW_NARROW, NARROW_STEP = 340, 118


@dataclass(frozen=True)
class Band:
    """A part of a stage: how many, what they are, and the class of its colour."""

    count: int
    label: str
    colour: str


@dataclass(frozen=True)
class Flow:
    """What went in and what came out. `unread` documents gave no chunk, `lost` ones gave nothing for all their
    chunks."""

    counts: Counts
    unread: int
    lost: int

    @property
    def stages(self) -> list[list[Band]]:
        """The bars from left to right, each in parts from its top."""
        counts = self.counts
        planned = counts.documents - self.unread
        asked = counts.chunks_answered - counts.chunks_from_ledger
        return [
            [Band(planned, "documents", "ink"), Band(self.unread, "gave no chunk", "dead")],
            [
                Band(asked, "chunks answered", "done"),
                Band(counts.chunks_from_ledger, "from the ledger", "ledger"),
                Band(counts.chunks - counts.chunks_answered, "failed", "dead"),
            ],
            [
                Band(planned - self.lost, f"documents in {counts.companies:,} profiles", "done"),
                Band(self.lost + self.unread, "dead documents", "dead"),
            ],
        ]

    def wide(self) -> Markup:
        """From left to right."""
        return _svg(self, across=False)

    def narrow(self) -> Markup:
        """From top to bottom."""
        return _svg(self, across=True)


def _svg(flow: Flow, *, across: bool) -> Markup:
    stages = flow.stages
    length = FLOW_NARROW if across else ALONG
    read = sum(band.count for band in stages[0]) - flow.unread
    share = read / max(1, flow.counts.documents)
    lengths = [length, max(LEAST_WIDTH, length * share), length]
    at = [0, NARROW_STEP, 2 * NARROW_STEP] if across else [0, 400, 790]
    spans = [_spans(bands, size) for bands, size in zip(stages, lengths, strict=True)]
    parts: list[Markup] = []
    middle = (spans[1][0][0], spans[1][-1][1])
    parts += _ribbon(at[0], spans[0][0], at[1], middle, "flow", across)
    whole = stages[2][0].count + flow.lost
    cut = middle[0] + (middle[1] - middle[0]) * (stages[2][0].count / whole if whole else 1)
    parts += _ribbon(at[1], (middle[0], cut), at[2], spans[2][0], "flow", across)
    dead = spans[2][1]
    edge = dead[0] + (dead[1] - dead[0]) * (flow.lost / max(1, flow.lost + flow.unread))
    parts += _ribbon(at[1], (cut, middle[1]), at[2], (dead[0], edge), "flow dead", across)
    parts += _ribbon(at[0], spans[0][1], at[2], (edge, dead[1]), "flow dead", across)
    for x, bands, places in zip(at, stages, spans, strict=True):
        parts += _bars(x, bands, places, across)
    width, height = (FLOW_NARROW, at[2] + 70) if across else (FLOW_WIDE, ALONG + 8)
    description = "; ".join(f"{band.count:,} {band.label}" for bands in stages for band in bands if band.count)
    head = Markup('<svg class="{}" viewBox="0 0 {} {}" role="img" aria-label="{}">').format(
        "narrow" if across else "wide", width, height, description
    )
    return head + Markup("").join(parts) + Markup("</svg>")


def _spans(bands: Sequence[Band], length: float) -> list[tuple[float, float]]:
    """Where each part stands in a bar; what is there at all can be seen."""
    total = sum(band.count for band in bands)
    sizes = [max(LEAST_WIDTH, length * band.count / total) if band.count else 0.0 for band in bands]
    over = sum(sizes) - length
    if total and over > 0:
        sizes[sizes.index(max(sizes))] -= over
    ends = [sum(sizes[: n + 1]) for n in range(len(sizes))]
    return [(end - size, end) for end, size in zip(ends, sizes, strict=True)]


def _ribbon(
    x0: float, one: tuple[float, float], x1: float, other: tuple[float, float], kind: str, across: bool
) -> list[Markup]:
    """A band that leads from a part of one bar to a part of another."""
    if one[1] - one[0] <= 0 or other[1] - other[0] <= 0:
        return []
    start, end = x0 + BAR, x1
    middle = (start + end) / 2
    points = [
        (start, one[0]), (middle, one[0]), (middle, other[0]), (end, other[0]),
        (end, other[1]), (middle, other[1]), (middle, one[1]), (start, one[1]),
    ]  # fmt: skip
    p = [f"{y:.1f},{x:.1f}" if across else f"{x:.1f},{y:.1f}" for x, y in points]
    path = f"M{p[0]} C{p[1]} {p[2]} {p[3]} L{p[4]} C{p[5]} {p[6]} {p[7]} Z"
    return [Markup('<path class="{}" d="{}"/>').format(kind, path)]


def _bars(x: float, bands: Sequence[Band], places: Sequence[tuple[float, float]], across: bool) -> list[Markup]:
    """A bar with its parts, and a line of text for each that is there."""
    parts, line = [], 0
    for band, (first, last) in zip(bands, places, strict=True):
        if last <= first and band is not bands[0]:
            continue
        if last > first:
            box = (first, x, last - first, BAR) if across else (x, first, BAR, last - first)
            parts.append(
                Markup('<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(
                    band.colour, *box
                )
            )
        place = (0.0, x + BAR + 20 + 21 * line) if across else (x + BAR + 12, max(first, 24 * line) + 16)
        parts.append(
            Markup('<text x="{:.1f}" y="{:.1f}"><tspan class="count {}">{:,}</tspan> {}</text>').format(
                *place, band.colour, band.count, band.label
            )
        )
        line += 1
    return parts
