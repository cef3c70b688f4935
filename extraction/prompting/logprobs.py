"""Log-probabilities of a reply's values: how sure the model was of each while it wrote it.

A reply is JSON; its leaves are its texts, numbers, booleans and nulls in the order in which they stand. The score
of a leaf is the sum of the log-probabilities of the tokens that it is written with, quotation marks included: the
logarithm of the probability that the model would write this and nothing else at that place.

    leaf_scores('{"a": "x", "b": null}', [('{"a": "', -0.5), ('x', -1.0), ('", "b":', 0.0), (' null}', -0.1)])
    # [-1.5, -0.1]
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any

Token = tuple[str, float]  # its text as the server gives it, its log-probability
LEAF = re.compile(r'("(?:[^"\\]|\\.)*+")(\s*:)?|-?\d[\d.eE+-]*|true|false|null')
REPLACEMENT = "\ufffd"  # what servers give for a token that is a part of a character
LEAST_LOGPROB = -100.0  # a probability that rounds to nothing; servers give -inf and the like for it
DECIMALS = 3


def leaf_scores(text: str, tokens: Sequence[Token], span: tuple[int, int] | None = None) -> list[float]:
    """One score for each leaf of a reply's JSON, which stands at `span` or is the whole text; none where the tokens
    are not those of the text."""
    ends = _ends(text, tokens)
    if ends is None:
        return []
    sums = [0.0, *accumulate(max(LEAST_LOGPROB, logprob) for _, logprob in tokens)]
    scores = []
    for start, end in _leaves(text, *(span or (0, len(text)))):
        first, last = bisect_right(ends, start), bisect_left(ends, end)
        scores.append(round(sums[min(last + 1, len(tokens))] - sums[first], DECIMALS))
    return scores


def _leaves(text: str, begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Where the leaves of a JSON text stand: its values, not the keys of its objects."""
    for match in LEAF.finditer(text, begin, end):
        if match[2] is None:
            yield match.span()


def _ends(text: str, tokens: Sequence[Token]) -> list[int] | None:
    """Where each token ends in the text. Tokens that are parts of one character end where the next whole one
    begins."""
    ends: list[int] = []
    position, inside = 0, False  # a character of which the tokens before were parts
    for number, (token, _) in enumerate(tokens):
        if not inside and text.startswith(token, position):
            position += len(token)
        elif REPLACEMENT in token:
            if not inside:
                following = next((t for t, _ in tokens[number + 1 :] if t and REPLACEMENT not in t), "")
                at = text.find(following, position + 1) if following else len(text)
                position, inside = (at if at >= 0 else len(text)), True
        elif inside and text.startswith(token, position):
            position, inside = position + len(token), False
        elif position < len(text):
            return None
        ends.append(position)
    return ends if position == len(text) else None


def leaves(value: Any) -> int:
    """How many leaves a parsed JSON value has."""
    if isinstance(value, dict):
        return sum(map(leaves, value.values()))
    if isinstance(value, list):
        return sum(map(leaves, value))
    return 1


def mirrored(value: Any, scores: Sequence[float], mirrors: dict[int, Any]) -> Any:
    """The scores in the shape of the value; None where there are more or fewer of them than leaves. `mirrors` gets,
    by the id of each list and object, that of its scores."""
    left = iter(scores)
    try:
        made = _mirrored(value, left, mirrors)
    except StopIteration:
        return None
    return made if next(left, None) is None else None


def _mirrored(value: Any, scores: Iterator[float], mirrors: dict[int, Any]) -> Any:
    if isinstance(value, dict):
        made: Any = {key: _mirrored(inner, scores, mirrors) for key, inner in value.items()}
    elif isinstance(value, list):
        made = [_mirrored(inner, scores, mirrors) for inner in value]
    else:
        return next(scores)
    mirrors[id(value)] = made
    return made


def token_pairs(content: Any) -> Iterable[Token]:
    """The tokens of a chat completion's `logprobs.content`; none where it is something else."""
    for entry in content if isinstance(content, list) else ():
        token, logprob = (entry.get("token"), entry.get("logprob")) if isinstance(entry, dict) else (None, None)
        if not isinstance(token, str) or not isinstance(logprob, int | float):
            return
        yield token, float(max(LEAST_LOGPROB, min(logprob, 0.0)))  # an integer may be of any size
