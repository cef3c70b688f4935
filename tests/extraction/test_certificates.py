"""A certificate is the same in all its editions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extraction.certificates import certification_key


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ISO 9001:2015", "ISO 9001"),
        ("iso9001", "ABNT NBR ISO 9001:2015"),
        ("ISO/IEC 27001:2013", "ISO 27001"),
        ("ISO 9001 certified", "Certificação ISO 9001"),
    ],
)
def test_editions_of_a_standard_are_one(one: str, other: str) -> None:
    assert certification_key(one) == certification_key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ISO 9001", "ISO 14001"),
        ("ISO 9001", "ISO 9001 and ISO 14001"),
        ("Best Lantern 2019", "Best Lantern 2020"),
        ("ISO 3834-2", "ISO 3834-3"),
    ],
)
def test_digits_are_never_merged_away(one: str, other: str) -> None:
    assert certification_key(one) != certification_key(other)


@given(st.text() | st.integers())
def test_a_key_of_a_key_is_that_key(value: str | int) -> None:
    assert certification_key(certification_key(value)) == certification_key(value)
