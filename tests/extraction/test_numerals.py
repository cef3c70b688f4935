"""Numbers in texts, by their digits."""

import pytest

from extraction.numerals import numerals


@pytest.mark.parametrize(
    ("text", "digits", "spans"),
    [
        ("1,200 people", "1200", [(0, 5)]),
        ("1.200,00 EUR", "1200", [(0, 8)]),
        ("12 345 people", "12345", [(0, 6)]),
        ("12 345 people", "345", [(3, 6)]),
        ("12 345 people", "2345", None),
        ("1 234 567", "1234", None),
        ("in 1987, 1987", "1987", [(3, 7), (9, 13)]),
        ("12.03.1994", "1994", [(6, 10)]),
        ("1994.03.12", "1994", [(0, 4)]),
        ("1.5", "1", None),
        ("v1987x", "1987", [(1, 5)]),
        ("no number", "", None),
    ],
)
def test_where_numbers_stand(text: str, digits: str, spans: list[tuple[int, int]] | None) -> None:
    assert numerals(text).get(digits) == spans
