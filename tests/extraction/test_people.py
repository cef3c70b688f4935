"""A person is the same with a title, a suffix or an initial."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extraction.keys import text_key
from extraction.people import person_key


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Dr. Ana B. Lima Jr.", "ana lima"),
        ("Lima, Ana B.", "Ana Lima"),
        ("LIMA, ANA", "Ana Lima"),
        ("Sra. Ana de Souza Neto", "ana de souza neto"),
        ("Ms. Eva O'Dell, PhD", "Eva ODell"),
    ],
)
def test_titles_and_initials_make_nobody_another(one: str, other: str) -> None:
    assert person_key(one) == person_key(other)


def test_full_middle_names_tell_people_apart() -> None:
    assert person_key("José Carlos Lima") != person_key("José Roberto Lima")
    assert person_key("J. Lima") == "j lima"
    assert person_key("CEO") == "ceo"


@given(st.text() | st.integers())
def test_any_value_has_a_key(value: str | int) -> None:
    assert person_key(value) or not text_key(value)
