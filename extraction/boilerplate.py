"""Boilerplate: the lines that most documents of one company repeat, such as menus and footers."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence, Set

from extraction.documents import Document
from extraction.outline import COLUMNS, heading_level

FEWEST_DOCUMENTS = 4
SAMPLE = 100  # documents of a company that decide
LONG = 40  # characters of a line that says the same wherever it stands
RUN = 5  # shorter lines go only so many in a row: alone they may be the label of what follows
CONTACT = re.compile(
    r"@|https?:|www\.|\w\.(?:com|net|org|io|co|info|biz|edu|gov|[a-z]{2})\b"  # e-mail, web addresses
    r"|\d(?:[\s().\-/]{0,3}\d){6}|\b\d{5}\b"  # telephone, CNPJ, EIN, postal codes
    r"|\b[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2}\b|\b[A-Z]\d[A-Z] ?\d[A-Z]\d\b"  # British and Canadian ones
)


class Boilerplate:
    """What a company's documents repeat. The first document that holds a line keeps it, so no fact is lost.

    Lines with contact data, headings and rows of tables stay everywhere. Where the company has more than SAMPLE
    documents, those decide whose ids come first by their digest: a document more or less changes little.
    """

    def __init__(self, documents: Sequence[Document]) -> None:
        chosen = sorted(documents, key=lambda document: _digest(document.document_id))[:SAMPLE]
        self.repeated = _repeated({document.text for document in chosen})
        self._seen: set[str] = set()
        self._known: dict[str, list[tuple[int, int]]] = {}

    def left_out(self, text: str) -> list[tuple[int, int]]:
        """Spans of whole lines that the next document can do without; none if it holds nothing else.

        Documents of the same text lose the same, and stay one question.
        """
        if self.repeated and text not in self._known:
            found = list(self._runs(text))
            bounds = [0, *(bound for span in found for bound in span), len(text)]
            kept = (text[start:end] for start, end in zip(bounds[::2], bounds[1::2], strict=True))
            self._known[text] = found if any(map(str.strip, kept)) else []
        return self._known.get(text, [])

    def _runs(self, text: str) -> Iterator[tuple[int, int]]:
        """Runs of lines that are repeated and were seen before."""
        seen = frozenset(self._seen)
        run: list[tuple[int, int]] = []
        position = 0
        for line in [*text.split("\n"), "\0"]:
            key = _key(line)
            if key:
                if key in self.repeated:
                    self._seen.add(key)
                if key in seen and not COLUMNS.search(line):
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
    return bool(heading_level(line) or CONTACT.search(line))


def _key(line: str) -> str:
    """A line without the white space around it."""
    return line.strip()
