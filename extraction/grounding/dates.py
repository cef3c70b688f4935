"""Dates as texts write them: 2024-03-12, 12.3.2024, March 12th, 2024, 12 de marzo de 2024, 2024年3月12日.

Months are known by their names in every official language (CLDR). Numbers alone may be read in two ways, so
03/04/2024 is both a day in March and one in April: it bears out either.

    dates("Since 12 March 2024.") == {date(2024, 3, 12): [(6, 19)]}
"""

import datetime
import re
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache

from babel import Locale

from extraction.grounding.places import official_languages
from extraction.grounding.text_folding import Span, fold_text

DIGITS = re.compile(r"\d+")
WORD = re.compile(r"(?!\.)[^\s\d,/;:()\[\]\u060c\u200e\u200f–—-]+")
BETWEEN_NUMBERS = re.compile(
    r"[\s./,\u060c\u200f–-]{1,4}|\s?[年月년월]\s?|[\s,.-]{1,2}(?:tháng|thg|năm)\s", re.IGNORECASE
)
DAY_SIGN = re.compile(r"\s?[日일]|")
REACH = 40  # characters between a day and its year, or before them, that may name the month
OTHER_WORDS, LONGEST_OTHER = 3, 5  # beside the month: the 12th day of March, 12 de marzo de 2024
BLANK_LINE = "\n\n"  # parts what is no one date: a page's number, the heading PART II, and the next page's
SHORTEST_STEM = 4  # letters of a name that endings may follow: martxoaren
ROMAN = ("i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x", "xi", "xii")
CENTURIES = (1900, 2000)  # of a year of two digits
BUDDHIST, THAI_YEARS = 543, range(2400, 2700)  # years that the Thai calendar is ahead, and in which it counts
ISO_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)(?:T(\d\d):(\d\d)(?::[\d.]+)?(?:Z|[+-]\d\d:?\d\d)?)?")
NEAR_A_DATE = 30  # characters to either side in which its time has to stand

Numbers = Sequence[re.Match[str]]


def dates(text: str) -> dict[datetime.date, list[Span]]:
    """The places of all dates in a text, each by every day that it may mean."""
    places: dict[datetime.date, list[Span]] = {}
    numbers, at = list(DIGITS.finditer(text)), 0
    while at < len(numbers):
        count, days, span = _date_at(text, numbers[at : at + 3])
        for day in days:
            places.setdefault(day, []).append(span)
        at += count or 1
    return places


def places_of(moment: str, text: str, places: dict[datetime.date, list[Span]]) -> Iterator[Span]:
    """Where a date or a date with its time, in ISO 8601, stands in a text; `places` has the text's dates."""
    match = ISO_MOMENT.fullmatch(moment)
    if match is None:
        return
    hour, minute = int(match[2] or 0), match[3] or "00"
    clock = _clock(hour, minute)
    for start, end in places.get(_day(match[1]), ()):
        near = text[max(0, start - NEAR_A_DATE) : start] + " " + text[end : end + NEAR_A_DATE]
        if (hour, minute) == (0, "00") or clock.search(near):
            yield start, end


def times(clock: str, text: str) -> Iterator[Span]:
    """Where a time of day in ISO 8601 stands in a text, to the minute."""
    yield from (match.span() for match in _clock(int(clock[:2]), clock[3:5]).finditer(text))


def _clock(hour: int, minute: str) -> re.Pattern[str]:
    hours = f"{hour}|{hour:02}|{hour % 12 or 12:02}|{hour % 12 or 12}"
    return re.compile(rf"(?<!\d)(?:{hours})[:.h]{minute}(?!\d)")


def is_moment(value: str) -> bool:
    """Whether a text is a date or a date with its time in ISO 8601."""
    return ISO_MOMENT.fullmatch(value) is not None


def _day(iso: str) -> datetime.date:
    try:
        return datetime.date.fromisoformat(iso)
    except ValueError:  # of a text that only looks like a date
        return datetime.date.min


def _date_at(text: str, numbers: Numbers) -> tuple[int, list[datetime.date], Span]:
    """How many numbers the date takes that begins with the first of some, the days that it may mean, and its place;
    no number where there is none."""
    first, *rest = numbers
    if len(first[0]) == 8:
        return _read(1, first.span(), [(first[0][:4], first[0][4:6], first[0][6:])])
    if not rest or rest[0].start() - first.end() > REACH:
        return 0, [], first.span()
    second = rest[0]
    gap = text[first.end() : second.start()]
    behind = text[second.end() : rest[1].start()] if len(rest) == 2 else ""
    year_follows = len(rest) == 2 and len(rest[1][0]) == 4
    if (months := _months_in(gap)) and not (
        year_follows and len(second[0]) < 4 and BETWEEN_NUMBERS.fullmatch(behind)
    ):
        span = (first.start(), second.end())
        return _read(2, span, _with_month(first[0], second[0], months))
    if len(rest) == 2 and _joins(gap, behind):
        sign = DAY_SIGN.match(text, rest[1].end())
        span = (first.start(), sign.end() if sign else rest[1].end())
        read = _read(3, span, _numeric(*(number[0] for number in numbers)))
        if read[0]:
            return read
    own_month = year_follows and _months_in(behind)  # of the second and the third number
    named = _month_beside(text, first, second) if _short(gap) and not own_month else None
    if named is None:
        return 0, [], first.span()
    months, start, end = named
    return _read(2, (start, end), _with_month(first[0], second[0], months))


def _joins(gap: str, behind: str) -> bool:
    """Whether three numbers with this between them are one date: the same sign twice, or words."""
    signs = not any(map(str.isalpha, gap + behind))
    return all(map(BETWEEN_NUMBERS.fullmatch, (gap, behind))) and (gap == behind or not signs)


def _month_beside(text: str, first: re.Match[str], second: re.Match[str]) -> tuple[frozenset[int], int, int] | None:
    """The months named before a day and its year (March 12, 2024), or behind a year and its day (2024. gada
    12. marts), and where the date then begins and ends."""
    if len(second[0]) == 4:
        from_ = max(0, first.start() - REACH)
        words = list(WORD.finditer(text, from_, first.start()))[-2:]
        for count, word in enumerate(reversed(words)):
            months = _month(_folded(word[0]))
            if months and (not count or _short(text[word.end() : first.start()])):
                return months, word.start(), second.end()
    if len(first[0]) == 4:
        word = WORD.search(text, second.end(), second.end() + REACH)  # type: ignore[assignment]
        if word and (months := _month(_folded(word[0]))):
            return months, first.start(), word.end()
    return None


def _with_month(one: str, other: str, months: frozenset[int]) -> list[tuple[str, str, str]]:
    """Years, months and days that two numbers around a month's name may be."""
    year, day = (one, other) if len(one) == 4 else (other, one)
    return [(year, str(month), day) for month in months]


def _numeric(one: str, two: str, three: str) -> list[tuple[str, str, str]]:
    """Years, months and days that three numbers may be."""
    if len(one) == 4:
        return [(one, two, three)]
    orders = [(three, two, one), (three, one, two)]
    return orders if len(three) == 4 else [*orders, (one, two, three)]


def _read(count: int, span: Span, parts: Sequence[tuple[str, str, str]]) -> tuple[int, list[datetime.date], Span]:
    """The same with the days that there are; no number where there are none."""
    days: dict[datetime.date, None] = {}
    for year, month, day in parts:
        if max(len(month), len(day)) > 2 or len(year) not in (2, 4):
            continue
        years = [century + int(year) for century in CENTURIES] if len(year) == 2 else [int(year)]
        years += [one - BUDDHIST for one in years if one in THAI_YEARS]
        for one in years:
            try:
                days[datetime.date(one, int(month), int(day))] = None
            except ValueError:
                continue
    return (count, list(days), span) if days else (0, [], span)


def _months_in(gap: str) -> frozenset[int]:
    """The months that what stands between two numbers names; none where it says something else too, or lines are
    left blank."""
    if BLANK_LINE in gap:
        return frozenset()
    words = [_folded(word) for word in WORD.findall(gap)]
    named = [months for word in words if (months := _month(word))]
    others = [word for word in words if not _month(word)]
    return frozenset.intersection(*named) if named and _short(" ".join(others)) else frozenset()


def _short(gap: str) -> bool:
    """Whether there are only the small words that join the parts of a date."""
    words = WORD.findall(gap)
    return BLANK_LINE not in gap and len(words) <= OTHER_WORDS and all(len(word) <= LONGEST_OTHER for word in words)


@lru_cache(maxsize=16_384)
def _folded(word: str) -> str:
    """A word without what a text puts around or into an abbreviation."""
    return fold_text(word).replace(".", "").strip("'\"")


@lru_cache(maxsize=16_384)
def _month(word: str) -> frozenset[int]:
    """The months that a folded word may name: as it is, behind a particle (Hebrew), or with an ending (Basque)."""
    names = _names()
    stems = (word[:length] for length in range(len(word) - 1, SHORTEST_STEM - 1, -1))
    behind = [word[1:]] if len(word) > 3 else []
    return next((names[name] for name in (word, *behind, *stems) if name in names), frozenset())


@cache
def _names() -> dict[str, frozenset[int]]:
    """Months by their folded names and short names in every official language; of names of several words by each
    long one."""
    names: dict[str, set[int]] = {name: {month} for month, name in enumerate(ROMAN, 1)}
    for language in official_languages():
        for widths in Locale.parse(language).months.values():
            for month, name in [*widths["wide"].items(), *widths["abbreviated"].items()]:
                if any(map(str.isdigit, name)):
                    continue
                words = [_folded(word) for word in name.split()]
                for word in words if len(words) == 1 else (w for w in words if len(w) >= SHORTEST_STEM):
                    names.setdefault(word, set()).add(month)
    names.pop("", None)
    return {name: frozenset(months) for name, months in names.items()}
