"""Keys of texts: strings that are equal for values that say the same.

A key is made for any value, never raises, and a key of a key is that key.
"""

import re
import unicodedata
from typing import Any

PLAIN_GAP = re.compile(r"[^a-z0-9]+")


def text_key(value: Any) -> str:
    """Equal for texts that differ in case, accents, punctuation or spacing only."""
    text = str(value)
    if text.isascii():
        return PLAIN_GAP.sub(" ", text.lower()).strip()
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    letters = [c for c in folded if not unicodedata.combining(c)]
    # What marks the vowel in Hindi or Thai is no letter, and no accent either.
    kept = (c if c.isalnum() or unicodedata.category(c)[0] == "M" else " " for c in letters)
    return " ".join("".join(kept).split())


def digits_key(value: Any) -> str:
    """The digits and letters of an identifier or phone number."""
    return text_key(value).replace(" ", "")
