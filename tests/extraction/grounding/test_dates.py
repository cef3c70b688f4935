"""A date stands in a text in whatever way the text writes it, and nowhere else."""

import datetime

import pytest
from babel.dates import format_date
from hypothesis import given
from hypothesis import strategies as st

from extraction.grounding.dates import dates
from extraction.grounding.places import official_languages
from extraction.grounding.text_search import Text

DAY = datetime.date(2024, 3, 12)
LANGUAGES = [
    language
    for language in official_languages()
    if language not in ("dz", "gv", "mn", "ss")  # whose days or months CLDR writes with other words between them
]
days = st.dates(datetime.date(1950, 1, 1), datetime.date(2049, 12, 31))


@given(days, st.sampled_from(LANGUAGES), st.sampled_from(["medium", "long", "full"]))
def test_a_date_is_found_as_languages_write_it(day: datetime.date, language: str, form: str) -> None:
    written = format_date(day, form, locale=language)
    if "M0" not in written and "M1" not in written:  # what CLDR says where it has no name of the month
        assert Text(f"x ({written}) x").find(day.isoformat()), written


@pytest.mark.parametrize(
    "written",
    [
        "2024-03-12",
        "2024/3/12",
        "2024.03.12",
        "20240312",
        "12.3.2024",
        "12/03/2024",
        "3/12/2024",
        "12.03.24",
        "12 MAR 2024",
        "12-Mar-24",
        "12 III 2024",
        "Mar. 12, 2024",
        "March 12th, 2024",
        "March 12,\n2024",
        "12th day of March, 2024",
        "12 de marzo de 2024",
        "12 mars 2024",
        "12. martā 2024",
        "2024. gada 12. martā",
        "2024ko martxoaren 12",
        "2024. március 12",
        "12 Mart'ta 2024",
        "12 במרץ 2024",
        "١٢ مارس ٢٠٢٤",
        "१२ मार्च २०२४",
        "12 มีนาคม 2567",
        "12 มี.ค. 2567",
        "12 tháng 3 năm 2024",
        "2024年3月12日",
        "２０２４年３月１２日",
        "2024년 3월 12일",
    ],
)
def test_the_place_of_a_date_is_all_of_it(written: str) -> None:
    text = f"Seit ({written}), 7 Jahre"
    span = Text(text).find("2024-03-12")
    assert span
    assert text[slice(*span)] == written


@pytest.mark.parametrize(
    "text",
    [
        "March 2024",
        "2024",
        "12 March",
        "12 people work here since March 2024",
        "13 March 2024 and 12 May 2024",
        "112 March 2024",
        "March 12\n\n2024",
        "version 1.2.3",
        "2024-03-1212",
        "12\n\nPART III\n\n24",
    ],
)
def test_a_date_that_the_text_does_not_tell_is_not_found(text: str) -> None:
    assert DAY not in dates(text)
    assert Text(text).find("2024-03-12") is None


@pytest.mark.parametrize(
    ("moment", "found"),
    [
        ("2024-03-12T14:30:00", True),
        ("2024-03-12T14:30:00Z", True),
        ("2024-03-12T02:30:00", True),
        ("2024-03-12T00:00:00", True),
        ("2024-03-12T14:31:00", False),
        ("2024-03-13T14:30:00", False),
        ("2024-02-31", False),
    ],
)
def test_a_date_with_its_time_needs_both(moment: str, found: bool) -> None:
    assert bool(Text("Opens at 14:30 (2:30 pm) on 12 March 2024").find(moment)) is found


def test_a_date_stays_in_iso_8601() -> None:
    assert Text("on 2024-3-12").as_written("2024-03-12", (3, 12)) == "2024-03-12"


@given(st.text(max_size=60), days, st.text(max_size=60))
def test_places_are_in_the_text_and_in_order(before: str, day: datetime.date, after: str) -> None:
    text = f"{before} {day} {after}"
    for spans in dates(text).values():
        assert all(0 <= start < end <= len(text) for start, end in spans)
        assert spans == sorted(spans)


@pytest.mark.parametrize(
    "text",
    [
        "Annual report 2023, 12.03.2024", "Invoice 7, 12.03.2024", "3\t12.03.2024\t4500", "1. 12.03.2024 signed",
        "14:30, 12.03.2024", "Room 3, 12/03/2024", "in 2023, 12 March 2024", "No 4 March 12, 2024",
    ],
)  # fmt: skip
def test_a_number_before_a_date_is_no_part_of_it(text: str) -> None:
    assert DAY in dates(text), dates(text)
    assert {day.year for day in dates(text)} == {2024}
