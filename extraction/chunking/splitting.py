"""Splitting of a text that is too long for one chunk.

A text is cut before a heading, else between paragraphs, else between lines; within a line only if the line fits no
chunk, then between sentences, else between words. So no table row that fits a chunk is cut. Each piece is filled to
between half and all of its room, and no tiny piece is left over. `halves` cuts a chunk again where its answer would
not fit.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

LONGEST = 120  # characters of a heading; a longer line is text
NAMED = 80  # characters of a heading that a section path shows
DEPTH = 3  # headings of a section path
MARKDOWN = re.compile(r"(#{1,6})\s+(\S.*?)[\s#]*")
UNDERLINE = re.compile(r"={3,}|-{3,}")
ENUMERATED = r"\s+(?:\d{1,3}[A-Z]?|[IVXLC]{1,6})\b(?:\s*[-–—.:\t].*|\s+[A-ZÀ-Ý(].*)?"
PART = re.compile(rf"(?i:part|parte|teil|partie|cap[ií]tulo|chapter){ENUMERATED}")
ITEM = re.compile(rf"(?i:item|section|se[cç][aã]o|secci[oó]n|cl[aá]usula|anexo|annex|appendix){ENUMERATED}")
NUMBERED = re.compile(r"\d{1,2}(?:\.\d{1,2}){0,3}[.)]?\s+[^\W\d_].*")
TABLE_COLUMNS = re.compile(r"\S\s{3,}\S|[\t|]")
PART_LEVEL, ITEM_LEVEL, CAPITALS_LEVEL, NUMBERED_LEVEL = 1, 2, 3, 4


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading's line is `[start, end)` of the text, without its line break; 1 is the highest level."""

    start: int
    end: int
    level: int
    name: str


class Outline:
    """The headings of a text."""

    def __init__(self, text: str) -> None:
        self.headings = list(_headings(text))
        self._starts = [heading.start for heading in self.headings]
        self._ends = {heading.end for heading in self.headings}
        self._above = _above([heading.level for heading in self.headings])

    def path(self, position: int) -> tuple[str, ...]:
        """Names of the headings that a position stands below; of one that begins there, those above it."""
        number = bisect_left(self._starts, position)
        begins_there = number < len(self._starts) and self._starts[number] == position
        above = self._above[number] if begins_there else number - 1
        names: list[str] = []
        while above >= 0 and len(names) < DEPTH:
            names.append(self.headings[above].name)
            above = self._above[above]
        return tuple(reversed(names))

    def between(self, start: int, end: int) -> list[Heading]:
        """The headings that begin behind `start`, up to `end`."""
        return self.headings[bisect_right(self._starts, start) : bisect_right(self._starts, end)]

    def ends_at(self, line_break: int) -> bool:
        """Whether the line that ends with this line break is a heading, which belongs to what follows."""
        return line_break in self._ends


def _above(levels: Sequence[int]) -> list[int]:
    """For each heading the number of the one that it stands below, -1 without one."""
    parents: list[int] = []
    for number, level in enumerate(levels):
        above = number - 1
        while above >= 0 and levels[above] >= level:
            above = parents[above]
        parents.append(above)
    return parents


def heading_level(line: str, alone: bool = False) -> int:
    """The level of a line without white space at its ends, 0 if it is no heading. `alone`: behind a blank line."""
    if not 2 < len(line) <= LONGEST or line[0] in "|<(-*•":
        return 0
    if line[0] == "#":
        mark = MARKDOWN.fullmatch(line)
        return len(mark[1]) if mark else 0
    if line[0] in "PpTtCc" and PART.fullmatch(line):
        return PART_LEVEL
    if line[0] in "IiSsCcAa" and ITEM.fullmatch(line):
        return ITEM_LEVEL
    if not alone or line[-1] in ".,;:" or TABLE_COLUMNS.search(line):
        return 0
    if line.isupper() and sum(map(str.isalpha, line)) * 2 > len(line):
        return CAPITALS_LEVEL
    numbered = NUMBERED.fullmatch(line) and len(line) <= NAMED
    return NUMBERED_LEVEL + line.split()[0].strip(".)").count(".") if numbered else 0


def _headings(text: str) -> Iterator[Heading]:
    position = start = 0
    above, level = "", 0  # the last line, and its level
    blank_above = True
    for line in text.split("\n"):
        name = line.strip() if len(line) <= 2 * LONGEST else line
        end = position + len(line)
        if above and blank_above and not level and len(above) <= LONGEST and UNDERLINE.fullmatch(name):
            yield Heading(start, end, 1 if name[0] == "=" else 2, above[:NAMED])
            name = ""
        blank_above = not above
        level = heading_level(name, alone=blank_above) if name else 0
        start = position + line.index(name)
        if level:
            yield Heading(start, end, level, " ".join(name.strip("# \t").split())[:NAMED])
        above, position = name, end + 1


PARAGRAPH = re.compile(r"\n[^\S\n]*\n\s*")
LINE = re.compile(r"\n\s*")
WITHIN_LINES = (re.compile(r"[.!?][\"')\]”’»]*\s+|[。！？]"), re.compile(r"[,;:]\s+|[、，；]"), re.compile(r"\s+"))
EARLIEST = 0.6  # of an even share: so far from the even share a better place for a cut is taken
LOOK_BACK = 200  # characters of white space between a heading and what it stands above
BLOCK, LONGEST_PARAGRAPH = 1_000, 4_000  # characters that are counted at once


class TokenOffsets:
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
        end = text.find("\n", start + BLOCK, start + LONGEST_PARAGRAPH) + 1
        if not end and len(text) - start > LONGEST_PARAGRAPH:
            end = text.rfind(" ", start + 1, start + LONGEST_PARAGRAPH)
            end = end if end > start else start + LONGEST_PARAGRAPH
        end = end or len(text)
        yield start, end
        start = end


class Splitter:
    """Finds the cuts of one text."""

    def __init__(self, text: str, outline: Outline, offsets: TokenOffsets) -> None:
        self.text, self.outline, self.offsets = text, outline, offsets

    def end_of_piece(self, start: int, limit: int) -> int:
        """The end of the piece that begins at `start` and is to have at most about `limit` tokens."""
        before = self.offsets.tokens_before(start)
        left = self.offsets.total - before
        if left <= limit:
            return len(self.text)
        share = left / -(-left // limit)
        earliest = max(start + 1, self.offsets.position_of(before + EARLIEST * share))
        latest = max(start + 1, self.offsets.position_of(before + min(limit, left - share / 2)))
        even = self.offsets.position_of(before + share)
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
        headings = [h for h in self.outline.between(earliest, latest) if not self._below_heading(h.start)]
        highest = min((heading.level for heading in headings), default=0)
        return [heading.start for heading in headings if heading.level == highest]

    def _breaks(self, pattern: re.Pattern[str], earliest: int, latest: int) -> list[int]:
        return [match.end() for match in pattern.finditer(self.text, earliest, latest)]

    def _line_that_fits(self, start: int, earliest: int, limit: int) -> int | None:
        """The last line break before `earliest`, if the line behind it fits a chunk."""
        begin = self.text.rfind("\n", start, earliest) + 1
        while begin and self._below_heading(begin):
            begin = self.text.rfind("\n", start, begin - 1) + 1
        end = self.text.find("\n", earliest)
        line = self.offsets.tokens_before(end if end >= 0 else len(self.text)) - self.offsets.tokens_before(begin)
        return begin if begin and line <= limit else None

    def _within_line(self, earliest: int, latest: int, even: int) -> int:
        for pattern in WITHIN_LINES:
            if places := self._breaks(pattern, earliest, latest):
                return min(places, key=lambda place: (abs(place - even), place))
        return max(earliest, even)


SHORTEST = 400  # characters: what a shorter text says has room in any answer
MOST_OF_TWO = 0.55  # of a text: the first part of two, at most
KNOWN = re.compile(r"\ACOMPANY: .*\n\n")  # of prompt.known_header
TITLE = re.compile(r"\A# .*\n\n?")
SEPARATOR = re.compile(r"^=== .* ===\n\n?", re.MULTILINE)  # between the documents of a pack


def halves(content: str) -> tuple[str, str] | None:
    """Two parts of a chunk's content, nothing lost between them; None when it is too short to be cut.

    The cut is where a document is cut that makes two chunks. The title, or the line before the document of a pack
    that is cut, is said again before the rest of the content, and so is the line that names the company.
    """
    known = KNOWN.match(content)
    if known:
        parts = halves(content[known.end() :])
        return parts and (known[0] + parts[0], known[0] + parts[1])
    shape = SEPARATOR if SEPARATOR.match(content) else TITLE
    headers = list(shape.finditer(content))
    begin = headers[0].end() if headers else 0
    length = len(content) - begin
    if length < SHORTEST:
        return None
    splitter = Splitter(content, Outline(content), TokenOffsets(content, len))
    cut = splitter.end_of_piece(begin, int(MOST_OF_TWO * length))
    above = [header[0] for header in headers if header.end() <= cut and not shape.match(content, cut)]
    return content[:cut], "".join(above[-1:]) + content[cut:]
