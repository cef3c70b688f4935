"""Captions: words of a form that tell what stands beside them, so that no model has to be asked for it.

    Razão social: ACME LTDA            Acme Inc.
    CNPJ: 12.345.678/0001-95           (Exact name of registrant as specified in its charter)

A caption begins a cell: a line, or what tabs and bars part a line into.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from extraction.folding import fold
from extraction.keys import text_key
from extraction.surroundings import Span

Where = Literal["behind", "under", "line", "above", "table", "page", "top"]

LINE = re.compile(r"[^\n]+")
CELL = re.compile(r"[^\n\t|•·]+")
FIRST_WORD = re.compile(r"[\W_]*([^\W_]+)")
COLON = re.compile(r"\s*[:：](?!//)")
MARKS = " *_`"  # what stands around words for their looks
LONGEST = 120  # characters of a caption
REACH = 250  # characters above a caption: an address
TABLE = 700  # characters below a caption: the first rows
VALUE = 300  # characters of a value
ROW = 500  # characters of a line from a caption on
HEAD = 300  # characters with which a page begins


class Taken(NamedTuple):
    """A value, and where it stands in the text that it was taken from."""

    value: Any
    start: int
    end: int

    def after(self, offset: int) -> "Taken":
        """The same, where that text begins at an offset of another."""
        return self._replace(start=self.start + offset, end=self.end + offset)


Take = Callable[[str], Taken | None]  # None where a text holds no such value, or several


@dataclass(frozen=True)
class Caption:
    """Words, in their `text_key` spellings, and how the value that they name is taken from a text.

    The value stands in the first of some places that holds one: `behind` the caption's colon, or in the next cell,
    `under` a cell that is the caption alone, which are the words then and no more; or in the `line` that the words
    begin, `above` it, in the `table` below it. On the `page` it stands where the text begins, which `take` gets
    with the caption's cell as the last line. At the `top` it is a document's first line, which has no caption: the
    words are "". A place has at most some hundred characters, so that a text of captions is read in linear time.
    """

    words: tuple[str, ...]
    where: tuple[Where, ...]
    take: Take

    def names(self, said: str) -> bool:
        """Whether a cell's words are such a caption."""
        whole = self.where[0] in ("behind", "under", "page", "top")
        return said in self.words if whole else any(said.startswith(words) for words in self.words)


Captions = Mapping[str, tuple[tuple[Caption, Any], ...]]  # and what they are the captions of, by first words


def by_first_word(captions: Iterable[tuple[Caption, Any]]) -> Captions:
    """Captions as `taken` looks them up."""
    found: dict[str, tuple[tuple[Caption, Any], ...]] = {}
    for caption, of in captions:
        for first in dict.fromkeys(words.split(" ", 1)[0] for words in caption.words):
            found[first] = (*found.get(first, ()), (caption, of))
    return found


def taken(text: str, captions: Captions, *, begins: bool = False) -> Iterator[tuple[Any, Taken]]:
    """What stands beside the captions of a text, with what they are the captions of.

    A text that `begins` has a document's first line.
    """
    top = next((line for line in LINE.finditer(text) if FIRST_WORD.match(line[0])), None) if begins else None
    for caption, of in captions.get("", ()) if top else ():
        if top and (found := caption.take(top[0][:VALUE])):
            yield of, found.after(top.start())
    for cell in CELL.finditer(text):
        first = FIRST_WORD.match(cell[0])
        known = captions.get(fold(first[1])) if first else None
        if not known:
            continue
        colon = COLON.search(cell[0], 0, LONGEST)
        said = text_key(cell[0][: colon.start() if colon else LONGEST])
        for caption, of in known:
            if caption.names(said) and (found := _beside(text, caption, cell, colon)):
                yield of, found


def _beside(text: str, caption: Caption, cell: re.Match[str], colon: re.Match[str] | None) -> Taken | None:
    """The value that a caption names, if it can be taken."""
    for where in caption.where:
        if where == "page":
            found = _on_page(text, caption, cell)
        else:
            span = _place(text, where, cell, colon)
            found = caption.take(text[slice(*span)]) if span else None
            found = found.after(span[0]) if span and found else None
        if found:
            return found
    return None


def _on_page(text: str, caption: Caption, cell: re.Match[str]) -> Taken | None:
    """The value with which a text begins, if it can be taken from there and what the cell says."""
    head, end = text[: min(HEAD, cell.start())], min(cell.end(), cell.start() + LONGEST + VALUE)
    found = caption.take(f"{head}\n{text[cell.start() : end]}")
    return found if found and found.end <= len(head) else None


def _place(text: str, where: Where, cell: re.Match[str], colon: re.Match[str] | None) -> Span | None:
    """The part of a text in which the value of a caption may stand; None where there is no such part."""
    begin = cell.start() + colon.end() if colon else cell.end()
    alone = not text[begin : cell.end()].strip(MARKS)
    match where:
        case "behind" if colon and not alone:
            return begin, min(cell.end(), begin + VALUE)
        case "under" if alone:
            return _under(text, cell.end())
        case "line":
            longest = min(len(text), cell.start() + ROW)
            end = text.find("\n", cell.start(), longest)
            return cell.start(), end if end >= 0 else longest
        case "above":
            return max(0, cell.start() - REACH), cell.start()
        case "table":
            return cell.end(), min(len(text), cell.end() + TABLE)
    return None


def _under(text: str, end: int) -> Span | None:
    """The next cell, unless it is a caption with its colon, or in a row of a table that has more cells."""
    cells = (cell for cell in CELL.finditer(text, end) if cell[0].strip(MARKS + "-"))
    below, after = next(cells, None), next(cells, None)
    if below is None or COLON.search(below[0], 0, LONGEST):
        return None
    same_line = "\n" not in text[end : below.start()]
    crowded = same_line and after is not None and "\n" not in text[below.end() : after.start()]
    return None if crowded else (below.start(), min(below.end(), below.start() + VALUE))
