"""Loops: small models fall into saying the same thing until their limit."""

BLANK = 200  # characters
LOOPS = ((2, 60, 8), (61, 1_000, 4))  # characters from and to, and how often they are said for it to be a loop


def loops(reply: str) -> bool:
    """Whether a reply ends in the same thing said again and again, or in a long blank."""
    if len(reply) >= BLANK and not reply[-BLANK:].strip():
        return True
    tail = reply[: -max(longest * times for _, longest, times in LOOPS) - 1 : -1]
    repeated = _repeated(tail)
    return any(
        repeated[length] >= (times - 1) * length and not tail[:length].isspace()
        for shortest, longest, times in LOOPS
        for length in range(shortest, min(longest, len(tail) // times) + 1)
    )


def _repeated(text: str) -> list[int]:
    """For each position, how many characters from there are those that the text begins with (its Z array).

    In linear time. Where that is k times the position itself, the text begins with k + 1 of the same.
    """
    found, left, right = [len(text)] + [0] * (len(text) - 1), 0, 0
    for at in range(1, len(text)):
        same = min(right - at, found[at - left]) if at < right else 0
        while at + same < len(text) and text[same] == text[at + same]:
            same += 1
        if at + same > right:
            left, right = at, at + same
        found[at] = same
    return found
