"""Surroundings: the words around a place that make it what a value is looked for, or no such place."""

import re
from functools import cache

from extraction.folding import fold

Span = tuple[int, int]
Words = tuple[str, ...]  # folded: one of up to WHOLE letters is a word, a longer one the beginning of a word
WHOLE = 4
REACH = 60  # characters to either side: less than a line


@cache
def beginning(words: Words) -> re.Pattern[str]:
    """Any of some words."""
    spelled = (re.escape(word) + (r"(?!\w)" if len(word) <= WHOLE else "") for word in words)
    return re.compile(rf"(?<!\w)(?:{'|'.join(spelled)})")


def near(text: str, span: Span, words: Words, reach: int = REACH) -> bool:
    """Whether one of some words stands near a span, to either side."""
    return beginning(words).search(fold(text[max(0, span[0] - reach) : span[1] + reach])) is not None


def before(text: str, span: Span, words: Words) -> bool:
    """Whether one of some words stands before a span, in its line and not far from it."""
    if not words:
        return False
    line = text[max(0, span[0] - REACH) : span[0]].rpartition("\n")[2]
    return beginning(words).search(fold(line)) is not None
