"""Surroundings: the words around a place that make it what a value is looked for, or no such place."""

from collections.abc import Callable

from extraction.folding import WORD, everywhere, fold

Span = tuple[int, int]
Stands = Callable[[str, Span], bool]  # of a text, and where in it a value stands
Words = tuple[str, ...]  # folded: one of up to WHOLE letters is a word, a longer one the beginning of a word
WHOLE = 4
REACH = 60  # characters to either side: less than a line


def has_any(text: str, words: Words) -> bool:
    """Whether one of some words stands in a folded text."""
    for word in words:
        if word not in text:  # most are not: that is told before a search for each is set up
            continue
        for start in everywhere(word, text):
            end = start + len(word)
            begins = not start or not WORD.match(text[start - 1])
            if begins and (len(word) > WHOLE or end == len(text) or not WORD.match(text[end])):
                return True
    return False


def near(text: str, span: Span, words: Words, reach: int = REACH) -> bool:
    """Whether one of some words stands near a span, to either side."""
    return has_any(fold(text[max(0, span[0] - reach) : span[1] + reach]), words)


def before(text: str, span: Span, words: Words) -> bool:
    """Whether one of some words stands before a span, in its line and not far from it."""
    if not words:
        return False
    line = text[max(0, span[0] - REACH) : span[0]].rpartition("\n")[2]
    return has_any(fold(line), words)
