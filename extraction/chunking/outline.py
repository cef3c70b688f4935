"""The outline of a text: its headings and their levels, as Markdown, reports and filings write them."""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
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
COLUMNS = re.compile(r"\S\s{3,}\S|[\t|]")
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
    found: list[int] = []
    for number, level in enumerate(levels):
        above = number - 1
        while above >= 0 and levels[above] >= level:
            above = found[above]
        found.append(above)
    return found


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
    if not alone or line[-1] in ".,;:" or COLUMNS.search(line):
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
