"""Splitting: where a text that is too long for one chunk is cut.

Before a heading, else between paragraphs, else between lines; within a line only if it fits no chunk, then
between sentences, else between words. So no row of a table is cut that fits a chunk. Each piece is filled to
between half and all of its room, and none is left over that is tiny.
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator

from extraction.chunking.outline import Outline

PARAGRAPH = re.compile(r"\n[^\S\n]*\n\s*")
LINE = re.compile(r"\n\s*")
WITHIN_LINES = (re.compile(r"[.!?][\"')\]”’»]*\s+|[。！？]"), re.compile(r"[,;:]\s+|[、，；]"), re.compile(r"\s+"))
EARLIEST = 0.6  # of an even share: so far from the even share a better place for a cut is taken
LOOK_BACK = 200  # characters of white space between a heading and what it stands above
BLOCK, LONGEST_BLOCK = 1_000, 4_000  # characters that are counted at once


class Ruler:
    """How many tokens of a text lie where, each of its characters counted once.

    Exact to a few tokens at the ends of blocks; within them tokens are taken to be of equal length.
    """

    def __init__(self, text: str, count: Callable[[str], int]) -> None:
        self.ends, self.totals = [0], [0]
        for start, end in _blocks(text):
            self.ends.append(end)
            self.totals.append(self.totals[-1] + count(text[start:end]))

    @property
    def total(self) -> int:
        """Tokens of the whole text."""
        return self.totals[-1]

    def tokens_before(self, position: int) -> float:
        """Tokens in front of a position."""
        return _interpolated(position, self.ends, self.totals)

    def position_of(self, tokens: float) -> int:
        """The position that has so many tokens in front of it."""
        return int(_interpolated(tokens, self.totals, self.ends))


def _interpolated(value: float, xs: list[int], ys: list[int]) -> float:
    right = min(max(bisect_left(xs, value), 1), len(xs) - 1)
    left = right - 1
    if right < 1 or xs[right] == xs[left]:
        return ys[-1]
    share = min(1.0, (value - xs[left]) / (xs[right] - xs[left]))
    return ys[left] + share * (ys[right] - ys[left])


def _blocks(text: str) -> Iterator[tuple[int, int]]:
    """Some lines each, or a part of a long one."""
    start = 0
    while start < len(text):
        end = text.find("\n", start + BLOCK, start + LONGEST_BLOCK) + 1
        if not end and len(text) - start > LONGEST_BLOCK:
            end = text.rfind(" ", start + 1, start + LONGEST_BLOCK)
            end = end if end > start else start + LONGEST_BLOCK
        end = end or len(text)
        yield start, end
        start = end


class Splitter:
    """Finds the cuts of one text."""

    def __init__(self, text: str, outline: Outline, ruler: Ruler) -> None:
        self.text, self.outline, self.ruler = text, outline, ruler

    def end_of_piece(self, start: int, limit: int) -> int:
        """The end of the piece that begins at `start` and is to have at most about `limit` tokens."""
        before = self.ruler.tokens_before(start)
        left = self.ruler.total - before
        if left <= limit:
            return len(self.text)
        share = left / -(-left // limit)
        earliest = max(start + 1, self.ruler.position_of(before + EARLIEST * share))
        latest = max(start + 1, self.ruler.position_of(before + min(limit, left - share / 2)))
        even = self.ruler.position_of(before + share)
        return (
            self._nearest(self._headings(earliest, latest), even)
            or self._nearest(self._breaks(PARAGRAPH, earliest, latest), even)
            or self._nearest(self._breaks(LINE, earliest, latest), even)
            or self._line_that_fits(start, earliest, limit)
            or self._within_line(earliest, latest, even)
        )

    def _nearest(self, places: list[int], even: int) -> int | None:
        """The place nearest to the even share, but none between a heading and what it stands above."""
        by_distance = sorted(places, key=lambda place: (abs(place - even), place))
        return next((place for place in by_distance if not self._below_heading(place)), None)

    def _below_heading(self, position: int) -> bool:
        begin = max(0, position - LOOK_BACK)
        end_of_text = begin + len(self.text[begin:position].rstrip())
        line_break = self.text.find("\n", end_of_text, position)
        return line_break >= 0 and self.outline.ends_at(line_break)

    def _headings(self, earliest: int, latest: int) -> list[int]:
        """Beginnings of the headings of the highest level."""
        found = [h for h in self.outline.between(earliest, latest) if not self._below_heading(h.start)]
        highest = min((heading.level for heading in found), default=0)
        return [heading.start for heading in found if heading.level == highest]

    def _breaks(self, pattern: re.Pattern[str], earliest: int, latest: int) -> list[int]:
        return [found.end() for found in pattern.finditer(self.text, earliest, latest)]

    def _line_that_fits(self, start: int, earliest: int, limit: int) -> int | None:
        """The last line break before `earliest`, if the line behind it fits a chunk."""
        begin = self.text.rfind("\n", start, earliest) + 1
        while begin and self._below_heading(begin):
            begin = self.text.rfind("\n", start, begin - 1) + 1
        end = self.text.find("\n", earliest)
        line = self.ruler.tokens_before(end if end >= 0 else len(self.text)) - self.ruler.tokens_before(begin)
        return begin if begin and line <= limit else None

    def _within_line(self, earliest: int, latest: int, even: int) -> int:
        for pattern in WITHIN_LINES:
            if places := self._breaks(pattern, earliest, latest):
                return min(places, key=lambda place: (abs(place - even), place))
        return max(earliest, even)
