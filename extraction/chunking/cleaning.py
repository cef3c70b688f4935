"""Cleaning of documents, with a way back from each clean character to the document's own.

ftfy repairs mojibake, ligatures, HTML entities and control characters, and composes to NFC. Then whatever a chat
template would read as a turn of its own is changed. Lines that most documents of a company repeat, such as menus
and footers, are left out.
"""

import hashlib
import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from heapq import merge
from io import StringIO

import ftfy
from rapidfuzz.distance import Levenshtein

from extraction.chunking.splitting import TABLE_COLUMNS, heading_level
from extraction.documents import Document, Edit, original_span
from extraction.prompting.prompt import SPECIAL_TOKEN, without_special_tokens

FEWEST_DOCUMENTS = 4
SAMPLED_DOCUMENTS = 100  # documents of a company that decide
LONG = 40  # characters of a line that says the same wherever it stands
REPEATED_RUN = 5  # shorter lines go only so many in a row: alone they may be the label of what follows
FACT = re.compile(r"@|https?:|www\.|\w\.(?:com|net|org|io|co|info|biz|edu|gov|[a-z]{2})\b|\d")
MARK = r"[-–—.()\[\]\s]*+"
PAGE_NUMBER = re.compile(
    rf"(?i:{MARK}(?:page|p[áa]gina|p[áa]g|seite|p)?{MARK}\d{{1,3}}(?:\s*(?:of|de|von|/)\s*\d{{1,3}})?{MARK})"
)


class Boilerplate:
    """What a company's documents repeat. The last document that holds a line keeps it, so no fact is lost or old.

    Documents are given from the oldest to the newest. Lines with digits (but page numbers), mail or web addresses,
    headings and rows of tables stay everywhere. Where the company has more than SAMPLED_DOCUMENTS, those decide
    whose ids come first by their digest: a document more or less changes little.
    """

    def __init__(self, documents: Sequence[Document]) -> None:
        chosen = sorted(documents, key=lambda document: _digest(document.document_id))[:SAMPLED_DOCUMENTS]
        self.repeated = _repeated({document.text for document in chosen})
        self._keeps: dict[str, str] = {}  # for each repeated line the text that keeps it
        if self.repeated:
            for text in {document.text: None for document in reversed(documents)}:
                for key in {_key(line) for line in text.split("\n")} & self.repeated:
                    self._keeps.setdefault(key, text)

    def left_out(self, text: str) -> list[tuple[int, int]]:
        """Spans of whole lines that a document's text can do without; none if it holds nothing else."""
        runs = list(self._runs(text)) if self.repeated else []
        bounds = [0, *(bound for span in runs for bound in span), len(text)]
        kept = (text[start:end] for start, end in zip(bounds[::2], bounds[1::2], strict=True))
        return runs if any(map(str.strip, kept)) else []

    def _runs(self, text: str) -> Iterator[tuple[int, int]]:
        """Runs of repeated lines that another text keeps."""
        run: list[tuple[int, int]] = []
        position = 0
        for line in [*text.split("\n"), "\0"]:
            key = _key(line)
            if key:
                if self._keeps.get(key, text) != text and not TABLE_COLUMNS.search(line):
                    run.append((position, min(position + len(line) + 1, len(text))))
                else:
                    long = any(end - start > LONG for start, end in run)
                    if run and (long or len(run) >= REPEATED_RUN):
                        yield run[0][0], run[-1][1]
                    run = []
            position += len(line) + 1


def _digest(document_id: str) -> bytes:
    return hashlib.sha256(document_id.encode("utf-8", errors="surrogatepass")).digest()


def _repeated(texts: Set[str]) -> frozenset[str]:
    """The lines of more than half of the texts."""
    if len(texts) < FEWEST_DOCUMENTS:
        return frozenset()
    counts = Counter(key for text in texts for key in {_key(line) for line in text.split("\n")})
    often = (key for key, count in counts.items() if key and 2 * count > len(texts))
    return frozenset(key for key in often if not _stays(key))


def _stays(line: str) -> bool:
    return bool(heading_level(line) or FACT.search(line)) and not PAGE_NUMBER.fullmatch(line)


def _key(line: str) -> str:
    """A line without the white space around it."""
    return line.strip()


MEND = ftfy.TextFixerConfig(
    uncurl_quotes=False, fix_character_width=False, fix_line_breaks=False, normalization="NFC", explain=False
)
SEGMENT = re.compile(r"[^\n]{1,2000}(?!\S)|[^\n]{1,2000}")  # lines, long ones cut at white space
MOST_EDITS = 200_000  # of a document; of more than that those near each other are one
NEAR_MISS = 300  # characters
# What ftfy would look at twice: control characters and ligatures, entities, and accented letters or signs in a
# row, which UTF-8 leaves where it is read as something else. (Two of À to ÿ in a row are Portuguese.)
STRANGE = (
    r"\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\u0132\u0133\u0149\u01c4-\u01cc\u01f1-\u01f3\u206a-\u206f"
    r"\ud800-\udfff\ufb00-\ufb06\ufeff\ufff9-\ufffd"
)
REPAIRED_SIGNS = (
    r"\xa1-\xbf\u0100-\u052f\u2010-\u2012\u2015-\u2018\u201a\u201b\u201e-\u2021\u2023-\u2025"
    r"\u2027-\u206f\u2071-\u25ff"  # but not – — ’ “ ” • … and blanks
)
ODD = re.compile(  # one class of characters first, so that the search runs over all others at once
    rf"[&\xc0-\xff{STRANGE}{REPAIRED_SIGNS}](?:(?<=&)#?\w{{1,24}};|(?<=[ÃÂ])(?![A-Z])"
    rf"|(?<=[\xc0-\xff])[\x80-\xbf\u0100-\uffff]|(?<=[{STRANGE}])|(?<=[{REPAIRED_SIGNS}])[^\x00-\x7f])"
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
    read = _changed(text, merge(_mended(text, left_out), ((start, end, "") for start, end in left_out)))
    return _without_specials(text, read if read.text.strip() else Clean(text))


def _mended(text: str, left_out: Sequence[tuple[int, int]]) -> Iterator[Change]:
    if not ODD.search(text) and unicodedata.is_normalized("NFC", text):
        return
    for segment in SEGMENT.finditer(text):
        original, at = segment[0], segment.start()
        number = bisect_right(left_out, at, key=lambda span: span[0])
        if number and at < left_out[number - 1][1]:
            continue
        if ODD.search(original):
            read = ftfy.fix_and_explain(original.replace("\x0b", " "), MEND).text
        else:
            read = unicodedata.normalize("NFC", original)
        for start, end, new in _differences(original, read) if read != original else ():
            yield at + start, at + end, new


def _differences(original: str, read: str) -> list[Change]:
    """Where two lines differ. What is changed within a word and at most two letters apart is one change."""
    changes: list[list[int]] = []
    for step in Levenshtein.opcodes(original, read):
        if step.tag == "equal":
            continue
        start, end, new_start, new_end = step.src_start, step.src_end, step.dest_start, step.dest_end
        between = original[changes[-1][1] : start] if changes else " "
        if len(between) <= 2 and not any(map(str.isspace, between)):
            changes[-1][1], changes[-1][3] = end, new_end
        else:
            changes.append([start, end, new_start, new_end])
    return [(start, end, read[new_start:new_end]) for start, end, new_start, new_end in changes]


def _changed(text: str, changes: Iterable[Change]) -> Clean:
    read = StringIO()
    edits: list[Edit] = []
    reached = 0
    for start, end, new in changes:
        read.write(text[reached:start])
        _add(edits, text, Edit(read.tell(), len(new), start, end, text[start:end]))
        read.write(new)
        reached = end
    read.write(text[reached:])
    return Clean(read.getvalue(), tuple(edits))


def _without_specials(text: str, read: Clean) -> Clean:
    """Each changed special token is an edit, unless it stands in one already. No place moves."""
    if not SPECIAL_TOKEN.search(read.text):
        return read
    edits: list[Edit] = []
    for edit in merge(read.edits, _special_tokens(read), key=lambda edit: edit.start):
        _add(edits, text, edit)
    return Clean(without_special_tokens(read.text), tuple(edits))


def _special_tokens(read: Clean) -> Iterator[Edit]:
    for match in SPECIAL_TOKEN.finditer(read.text):
        start, end, within = read.span(match.start(), match.end())
        if not within:
            yield Edit(match.start(), len(match[0]), start, end, match[0])


def _add(edits: list[Edit], text: str, edit: Edit) -> None:
    """One more edit of a text. Of spans left out in a row, and of all too many, it is one with the last."""
    last = edits[-1] if edits else None
    if last and (
        (last.end, last.length, edit.length) == (edit.start, 0, 0)
        or (len(edits) >= MOST_EDITS and edit.start - last.start < NEAR_MISS)
    ):
        edits.pop()
        edit = Edit(last.at, edit.at + edit.length - last.at, last.start, edit.end, text[last.start : edit.end])
    edits.append(edit)
