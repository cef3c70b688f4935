"""What languages glue to a name, so that no white space sets it apart: prefixes, and the endings of cases.

    in בחיפה stands חיפה        in Espoossa stands Espoo        in Москве stands Москва

Which of them may stand there follows from the script. In Latin letters the text has to be of the language: it
holds letters such as the ı of Turkish or the ő of Hungarian again and again, not only in a foreign name. All is
written as `fold_text` leaves it: in lower case, without accents.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from extraction.grounding.text_folding import everywhere

LEAST_STEM = 3  # letters
LONGEST_PREFIX = 6
SHOWN_WITHIN = 200
LATIN = "[a-zıəøłđßæþ]"


class Affixes(NamedTuple):
    """What languages with a script glue to names, as regular expressions.

    shown: what a text in such a language holds, once in SHOWN_WITHIN characters. before, after: what stands before
    and behind the name in its word. replaced: the end of a name that `after` may stand in place of. least: letters
    of a name.
    """

    script: str
    shown: str = ""
    before: str = ""
    after: str = ""
    replaced: str = ""
    least: int = 4


FAMILIES = (
    Affixes("[א-ת]", before="[ושהבכלמ]{1,4}", least=3),
    Affixes("[ء-ۓ]", before="[وف]?[بكل]?(?:ال|ل)??", replaced="^ال", least=3),  # the article, which is ل after ل
    Affixes("[ሀ-ፚ]", before="[በከለየወ]?", after="[ንናም]?", least=3),
    Affixes("[ა-ჰ]", after="(?:ში|ზე|ს|თან|მა|ით|ად|ი?დან|ისა?)", replaced="ი$"),
    Affixes("[ա-ֆ]", after="(?:ում|ի|ից|ին|ով|ն|ը|ու|ուց)"),
    Affixes("[α-ω]", after="(?:σ|ου|ο|α|η|ε|ων|ουσ)?", replaced="ο?σ$"),
    Affixes(  # Slavic, Kazakh
        "[а-яєіїґқңғүұһө]",
        after="(?:[аеиоуыюяії]|[оеыи][им]|[аяи]м|[аяыи]х|[аяыи]ми|[ео]го|[ео]му|[оеую]ю|[ао]ві|[дт][ае]н?|[гқ]а|н[ыі]ң)",
        replaced="(?:[иыо]и|ая|яя|ое|ее|[аеиоуыьяії])$",
    ),
    Affixes(  # Turkish, Azerbaijani
        LATIN,
        "[ışğəİŞĞƏ]",
        after="(?:l[ae]r)?(?:[dt][ae](?:n|ki)?|y?[aeıiu]|n?[ıiu]n|y?l[ae]|l[ıiu]|c[ae]|s?[ıiu]n(?:[dt][ae]n?|[ıiu]n?|[ae]))",
    ),
    Affixes(  # Hungarian
        LATIN,
        "[őűŐŰ]",
        after="(?:[aeo]?[nt]|[bvtsrnkg][ae]l|b[ae]n?|r[ae]|h[eo]z|n[ae]k|[btr]ol|ig|i|kent)",
    ),
    Affixes(  # Finnish, Estonian: the consonant before an ending is often another
        LATIN,
        "ää|öö|yy|äi|äy|iö|yö|õ",
        after="[gvdmnlr]?[aeiouy]?(?:h?[aeiouy]?n|ss[ae]|st?a?|ll?[ae]|lta?|lt|t?ta|ksi?|seen|ga|[aeiu])",
        replaced="[kpt]?[aeiouy]$",
    ),
    Affixes(  # Polish, Czech, Slovak, Slovenian, Croatian
        LATIN,
        "[łąęśżźńěřůľĺčćđšžŁĄĘŚŻŹŃĚŘŮĽČĆĐŠŽ]",
        after="(?:i?[aeou]|[iy]m?|i?em|om|ou|i?[ea]ch|i?ami|owi|i?ego|i?emu|i?ej)",
        replaced="[aeoiy]$",
    ),
    Affixes(  # Lithuanian, Latvian
        LATIN,
        "[ėęųįūāēīļņģķĖŲĮŪĀĒĪĻŅĢĶ]",
        after="(?:i?uje|[oeiy]je|i?aus|i?[aeou]s?|i?ui|i?am|ai)",
        replaced="(?:i?u|a|i)?s$|[ae]$",
    ),
    Affixes(LATIN, "[äöüßåøæÄÖÜÅØÆ]", after="s", least=5),  # the genitive of German, Swedish, Norwegian, Danish
)


def families(name: str) -> list[Affixes]:
    """The families of languages that a folded name may be of."""
    letters = "".join(filter(str.isalpha, name))
    if not letters or any(map(str.isdigit, name)):
        return []
    return [each for each in FAMILIES if len(letters) >= each.least and re.fullmatch(f"{each.script}+", letters)]


def glued(name: str, text: str, family: Affixes) -> Iterator[tuple[int, int]]:
    """Where a folded name stands in a folded text with affixes: the span of the name, or of the form of it that
    stands there."""
    first, *more = name.split()
    stem = _stem(first, family.replaced)
    article = first.removesuffix(stem) if first.endswith(stem) else ""
    for at in everywhere(stem, text):
        start = begin = at
        while family.before and start and at - start <= LONGEST_PREFIX and text[start - 1].isalnum():
            start -= 1
        if text[start:at].endswith(article):
            begin -= len(article)
        within = start > 0 and text[start - 1].isalnum()
        if within or not re.fullmatch(family.before, text[start:begin]):
            continue
        name_end, end = _ends(first.removeprefix(article), stem, text, at, family)
        for word in more:
            if end and text[end : end + 1] == " ":
                name_end, end = _ends(word, _stem(word, family.replaced), text, end + 1, family)
            else:
                end = 0
        if end:
            yield begin, name_end


def _ends(word: str, stem: str, text: str, at: int, family: Affixes) -> tuple[int, int]:
    """Where a word of a name ends, and the word of the text that it stands in; 0 where it stands in none."""
    stem = stem if word.startswith(stem) else word
    behind = end = at + len(stem)
    if text[at:behind] != stem:
        return 0, 0
    while text[end : end + 1].isalnum():
        end += 1
    rest, tail = word.removeprefix(stem), text[behind:end]
    if tail.startswith(rest) and re.fullmatch(f"(?:{family.after})?", tail.removeprefix(rest)):
        return behind + len(rest), end
    return (end, end) if re.fullmatch(family.after, tail) else (0, 0)


@lru_cache(maxsize=4_096)
def _stem(word: str, replaced: str) -> str:
    """A word without what an ending may stand in place of, or Arabic's article."""
    stem = re.sub(replaced, "", word) if replaced else word
    return stem if len(stem) >= LEAST_STEM else word
