"""Certificates: which standard one is about."""

import re
from typing import Any

from extraction.keys import text_key

# What stands around the number of a standard and does not change which one it is: ABNT NBR ISO/IEC 27001.
STANDARD = re.compile(
    r"(?:(?:norma|standard|abnt|nbr|nf|ne|en|bs|din|uni|une|ts) )*"
    r"iso(?: (?:iec|ts|iatf))? ?(\d{3,5})(?: (\d))?(?: (?:19|20)\d\d)?"
)
CERTIFIED = re.compile(r"\b(?:certifi(?:ed|cation|cate|cacao|cad[oa]|cacion|e|ee)|zertifizier(?:t|ung))\b")


def certification_key(value: Any) -> str:
    """A certificate or award without its edition: ISO 9001:2015 is ISO 9001, never ISO 14001."""
    key = text_key(value)
    bare = " ".join(CERTIFIED.sub(" ", key).split())
    standard = STANDARD.fullmatch(bare)
    return " ".join(("iso", *filter(None, standard.groups()))) if standard else bare or key
