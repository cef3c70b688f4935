"""Boilerplate: the lines that most documents of one company repeat, such as menus and footers."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence, Set

from extraction.chunking.outline import COLUMNS, heading_level
from extraction.documents import Document

FEWEST_DOCUMENTS = 4
SAMPLE = 100  # documents of a company that decide
LONG = 40  # characters of a line that says the same wherever it stands
RUN = 5  # shorter lines go only so many in a row: alone they may be the label of what follows
FACT = re.compile(r"@|https?:|www\.|\w\.(?:com|net|org|io|co|info|biz|edu|gov|[a-z]{2})\b|\d")
MARK = r"[-–—.()\[\]\s]*+"
PAGE_NUMBER = re.compile(
    rf"(?i:{MARK}(?:page|p[áa]gina|p[áa]g|seite|p)?{MARK}\d{{1,3}}(?:\s*(?:of|de|von|/)\s*\d{{1,3}})?{MARK})"
)


class Boilerplate:
    """What a company's documents repeat. The last document that holds a line keeps it, so no fact is lost or old.

    Documents are given from the oldest to the newest. Lines with digits (but page numbers), mail or web addresses,
    headings and rows of tables stay everywhere. Where the company has more than SAMPLE documents, those decide
    whose ids come first by their digest: a document more or less changes little.
    """

    def __init__(self, documents: Sequence[Document]) -> None:
        chosen = sorted(documents, key=lambda document: _digest(document.document_id))[:SAMPLE]
        self.repeated = _repeated({document.text for document in chosen})
        self._keeps: dict[str, str] = {}  # for each repeated line the text that keeps it
        if self.repeated:
            for text in {document.text: None for document in reversed(documents)}:
                for key in {_key(line) for line in text.split("\n")} & self.repeated:
                    self._keeps.setdefault(key, text)

    def left_out(self, text: str) -> list[tuple[int, int]]:
        """Spans of whole lines that a document's text can do without; none if it holds nothing else."""
        found = list(self._runs(text)) if self.repeated else []
        bounds = [0, *(bound for span in found for bound in span), len(text)]
        kept = (text[start:end] for start, end in zip(bounds[::2], bounds[1::2], strict=True))
        return found if any(map(str.strip, kept)) else []

    def _runs(self, text: str) -> Iterator[tuple[int, int]]:
        """Runs of repeated lines that another text keeps."""
        run: list[tuple[int, int]] = []
        position = 0
        for line in [*text.split("\n"), "\0"]:
            key = _key(line)
            if key:
                if self._keeps.get(key, text) != text and not COLUMNS.search(line):
                    run.append((position, min(position + len(line) + 1, len(text))))
                else:
                    long = any(end - start > LONG for start, end in run)
                    if run and (long or len(run) >= RUN):
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
