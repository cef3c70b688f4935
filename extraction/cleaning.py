"""Cleaning: what a model should read of a document, with a way back to each of the document's own characters.

Mojibake, ligatures, HTML entities and control characters are mended by ftfy, composed to NFC; what a chat template
would read as a turn of its own is defused.
"""

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import ftfy
from rapidfuzz.distance import Levenshtein

from extraction.pieces import Edit, original_span
from extraction.prompt import defused

MEND = ftfy.TextFixerConfig(
    uncurl_quotes=False, fix_character_width=False, fix_line_breaks=False, normalization="NFC", explain=False
)
SEGMENT = re.compile(r"[^\n]{1,2000}(?!\S)|[^\n]{1,2000}")  # lines, long ones cut at white space
# What ftfy would look at twice: control characters and ligatures, entities and markers, and accented letters or
# signs in a row, which UTF-8 leaves where it is read as something else. (Two of À to ÿ in a row are Portuguese.)
STRANGE = (
    r"\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\u0132\u0133\u0149\u01c4-\u01cc\u01f1-\u01f3\u206a-\u206f"
    r"\ud800-\udfff\ufb00-\ufb06\ufeff\ufff9-\ufffd"
)
SIGNS = (
    r"\xa1-\xbf\u0100-\u052f\u2010-\u2012\u2015-\u2018\u201a\u201b\u201e-\u2021\u2023-\u2025"
    r"\u2027-\u206f\u2071-\u25ff"  # but not – — ’ “ ” • … and blanks
)
ODD = re.compile(  # one class of characters first, so that the search runs over all others at once
    rf"[&<\xc0-\xff{STRANGE}{SIGNS}](?:(?<=&)#?\w{{1,24}};|(?<=<)[|/bepsu]|(?<=[ÃÂ])(?![A-Z])"
    rf"|(?<=[\xc0-\xff])[\x80-\xbf\u0100-\uffff]|(?<=[{STRANGE}])|(?<=[{SIGNS}])[^\x00-\x7f])"
)
Change = tuple[int, int, str]  # [start, end) of the document's text, and what to read there


@dataclass(frozen=True, slots=True)
class Clean:
    """A document's text as it is read, and where it differs from the document's own."""

    text: str
    edits: tuple[Edit, ...] = ()

    def span(self, start: int, end: int) -> tuple[int, int, tuple[Edit, ...]]:
        """Where `text[start:end]` stands in the document, and the edits within, counted from `start`."""
        first = bisect_right(self.edits, start, key=lambda edit: edit.at + edit.length)
        behind = bisect_left(self.edits, end, key=lambda edit: edit.at)
        within = tuple(_clipped(edit, start, end) for edit in self.edits[first:behind])
        begin, stop, _ = original_span(self.text, self.edits[max(0, first - 1) : behind], start, end)
        return begin, stop, within


def _clipped(edit: Edit, start: int, end: int) -> Edit:
    at = max(edit.at, start)
    return Edit(at - start, min(edit.at + edit.length, end) - at, edit.start, edit.end, edit.original)


def clean(text: str, left_out: Sequence[tuple[int, int]] = ()) -> Clean:
    """Mend a text and leave out some spans of it. Says what is changed, character by character."""
    changes = sorted([*_mended(text, left_out), *((start, end, "") for start, end in left_out)])
    read = _changed(text, changes)
    return read if read.text.strip() else Clean(text)


def _mended(text: str, left_out: Sequence[tuple[int, int]]) -> Iterator[Change]:
    if not ODD.search(text) and unicodedata.is_normalized("NFC", text):
        return
    for segment in SEGMENT.finditer(text):
        said, at = segment[0], segment.start()
        number = bisect_right(left_out, at, key=lambda span: span[0])
        if number and at < left_out[number - 1][1]:
            continue
        if ODD.search(said) or not unicodedata.is_normalized("NFC", said):
            read = defused(ftfy.fix_and_explain(said.replace("\x0b", " "), MEND).text)
            for start, end, new in _differences(said, read):
                yield at + start, at + end, new


def _differences(said: str, read: str) -> list[Change]:
    """Where two lines differ. What is changed within a word and at most two letters apart is one change."""
    found: list[list[int]] = []
    for step in Levenshtein.opcodes(said, read):
        if step.tag == "equal":
            continue
        start, end, new_start, new_end = step.src_start, step.src_end, step.dest_start, step.dest_end
        between = said[found[-1][1] : start] if found else " "
        if len(between) <= 2 and not any(map(str.isspace, between)):
            found[-1][1], found[-1][3] = end, new_end
        else:
            found.append([start, end, new_start, new_end])
    return [(start, end, read[new_start:new_end]) for start, end, new_start, new_end in found]


def _changed(text: str, changes: Sequence[Change]) -> Clean:
    parts: list[str] = []
    edits: list[Edit] = []
    reached, length = 0, 0
    for start, end, new in changes:
        parts += [text[reached:start], new]
        at = length + start - reached
        last = edits[-1] if edits else None
        if last and not new and (last.end, last.length) == (start, 0):
            edits[-1] = Edit(last.at, 0, last.start, end, text[last.start : end])
        else:
            edits.append(Edit(at, len(new), start, end, text[start:end]))
        reached, length = end, at + len(new)
    return Clean("".join([*parts, text[reached:]]), tuple(edits))
