"""A chunk's content in two, where its answer would not fit or the server finds it too long."""

import re

SHORTEST = 400  # characters: what a shorter text says has room in any answer
BREAKS = (
    re.compile(r"\n[^\S\n]*\n\s*"),  # paragraph
    re.compile(r"\n\s*"),  # line
    re.compile(r"[.!?…][)\]\"'”’»]*\s+|[。！？]"),  # sentence
    re.compile(r"\s+"),
)
KNOWN = re.compile(r"\ACOMPANY: .*\n\n")  # of prompt.known_header
TITLE = re.compile(r"\A# .*\n\n?")
SEPARATOR = re.compile(r"^=== .* ===\n\n?", re.MULTILINE)  # between the documents of a pack
ROW = re.compile(r"^[^\S\n]*\|.*\|[^\S\n]*$", re.MULTILINE)


def halves(content: str) -> tuple[str, str] | None:
    """Two parts of a chunk's content, nothing lost between them; None when it is too short to be cut.

    The cut is at the paragraph break nearest the middle, else at a line break, the end of a sentence, a space;
    inside a row of a table only where there is no other place. The title, or the line before the document of a
    pack that is cut, is said again before the rest of the content, and so is the line that names the company.
    """
    known = KNOWN.match(content)
    if known:
        parts = halves(content[known.end() :])
        return parts and (known[0] + parts[0], known[0] + parts[1])
    shape = SEPARATOR if SEPARATOR.match(content) else TITLE
    headers = list(shape.finditer(content))
    begin = headers[0].end() if headers else 0
    if len(content) - begin < SHORTEST:
        return None
    cut = _cut(content, begin)
    above = [found[0] for found in headers if found.end() <= cut and not shape.match(content, cut)]
    return content[:cut], "".join(above[-1:]) + content[cut:]


def _cut(content: str, begin: int) -> int:
    """Where to cut what follows `begin`: rather at a worse break than into very unequal parts."""
    middle, quarter = (begin + len(content)) // 2, (len(content) - begin) // 4
    rows = [row.span() for row in ROW.finditer(content, begin)]
    breaks = [[found.end() for found in shape.finditer(content, begin)] for shape in BREAKS]
    outside = [_outside(rows, places) for places in breaks]
    tries = [(quarter, places) for places in outside] + [(2 * quarter - 1, places) for places in outside]
    for reach, places in [*tries, (quarter, breaks[-1])]:
        nearest = min(places, key=lambda place: abs(place - middle), default=begin)
        if abs(nearest - middle) <= reach:
            return nearest
    return middle


def _outside(spans: list[tuple[int, int]], places: list[int]) -> list[int]:
    """The ascending places that are inside none of some ascending spans."""
    kept, at = [], 0
    for place in places:
        while at < len(spans) and spans[at][1] <= place:
            at += 1
        if at == len(spans) or place <= spans[at][0]:
            kept.append(place)
    return kept
