"""A value stands in a text whole, or not at all; how it is spelled there does not matter."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from extraction.grounding import Text, fold, spellings

ODD = "aZé ñe\u0301ﬁﬃ½…™ßİıſΣ\u00ad\u200b\ufeff\u0301\u00a0\t\n“’–-.,'/:0179\U0001f600\U0001d4d0漢ｶﾞ각์ि\ud800"
texts = st.text() | st.text(alphabet=ODD, max_size=60)
words = st.text(alphabet="abzéñöÃÇ19", min_size=1, max_size=6)


def cut(text: str, value: Any) -> str | None:
    span = Text(text).find(value)
    return text[slice(*span)] if span else None


def flat(text: str) -> str:
    return " ".join(fold(text).split())


@given(texts, texts | st.integers() | st.floats() | st.booleans() | st.none())
@example("e\u0301", "\u0301")
@example("a … b", ".")
@example("1½", "1")
@example("x´y", "X Y")
@example("a" * 9, float("inf"))
@example("1e+22", 1e22)
def test_any_span_lies_in_the_text_and_says_the_value(text: str, value: Any) -> None:
    span = Text(text).find(value)
    if span:
        start, end = span
        assert 0 <= start < end <= len(text)
        if isinstance(value, str):
            assert flat(text[start:end]) in map(flat, spellings(value))
        else:
            assert any(c.isdigit() for c in text[start:end])


@given(st.lists(words, min_size=1, max_size=12), st.data())
def test_words_of_a_text_are_found_in_it_however_they_are_written(parts: list[str], data: st.DataObject) -> None:
    blank = st.sampled_from([" ", "\n", "  ", "\t \n", "\u00a0", " \u00ad"])
    text = "".join(part + data.draw(blank) for part in parts)
    first = data.draw(st.integers(0, len(parts) - 1))
    some = parts[first : data.draw(st.integers(first, len(parts) - 1)) + 1]
    value = data.draw(st.sampled_from([str.lower, str.upper, str.title, fold]))("  ".join(some))
    found = cut(text, value)
    assert found is not None
    assert flat(found) == flat(value)


@given(st.integers(0, 10**12), st.sampled_from(["", ",", ".", " ", "'", "’", "\u00a0", "\u202f"]))
def test_a_number_is_found_however_its_thousands_are_grouped(number: int, sign: str) -> None:
    written = f"{number:,}".replace(",", sign)
    assert cut(f"It has {written} people.", number) == written
    assert cut(f"({written})", number) == written


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1,874", 1874),
        ("1.874", 1874),
        ("1 874", 1874),
        ("EUR 1.874,00", 1874),
        ("staff:1874.", 1874),
        ("12.03.1994", 1994),
        ("1994.03.12", 1994),
        ("March 12,1994", 1994),
        ("2014年設立", 2014),
        ("-5 °C", -5),
        ("2,5 ha", 2.5),
        ("10-14", 14),
    ],
)
def test_numbers_are_found(text: str, value: float) -> None:
    assert cut(text, value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2014", 14),
        ("1,140", 14),
        ("1,140", 140),
        ("21,874", 1874),
        ("21,874", 874),
        ("21,874,120", 874_120),
        ("1\u00a0874", 874),
        ("1'874", 1),
        ("1\n874", 1874),
        ("14.5 million", 14),
        ("3.14", 14),
        ("14th", 14),
        ("x14", 14),
        ("1874.5", 1874),
        ("5", -5),
        ("12.5", 2.5),
        ("one", True),
        ("inf", float("inf")),
        ("nan", float("nan")),
    ],
)
def test_parts_of_numbers_are_not(text: str, value: float) -> None:
    assert cut(text, value) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("in SÃO  PAULO.", "São Paulo"),
        ("in Sa\u0303o Paulo", "sao paulo"),
        ("the “Old” firm’s", 'the "old" firm\'s'),
        ("„Alt“ und «neuf»", '"alt" und "NEUF"'),
        ("Bautzen–Süd", "bautzen-sud"),
        ("Ma\u00adnu\u00adfak\u00adtur", "manufaktur"),
        ("Serra\u200b Alta", "serra alta"),
        ("Straße", "STRASSE"),
        ("oﬃce ﬁtters", "Office Fitters"),
        ("ＡＢＣ　１２３", "abc 123"),
        ("see https://www.Acme.example/en/", "acme.example/en"),
        ("see acme.example", "https://www.acme.example/"),
        ("see acme.example", "WWW.ACME.EXAMPLE"),
        ("本社は東京にあります", "東京"),
        ("서울에 있다", "서울"),
        ("C++ and S.A.", "S.A."),
    ],
)
def test_texts_are_found_however_they_are_spelled(text: str, value: str) -> None:
    assert cut(text, value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Hamburger", "Hamburg"),
        ("Neustadt", "stadt"),
        ("½ litre", "1"),
        ("선 하나", "서"),
        ("wait …", "."),
        ("notacme.example", "acme.example"),
    ],
)
def test_parts_of_words_are_not(text: str, value: str) -> None:
    assert cut(text, value) is None


@pytest.mark.parametrize("value", ["", " ", "\n\t", "\u00ad", "\u0301", "-", "—", "...", "/"])
def test_what_says_nothing_is_never_found(value: str) -> None:
    assert cut(f"x {value} y – - — ... / e\u0301", value) is None


def test_the_first_place_counts_and_an_exact_one_before_a_folded_one() -> None:
    assert Text("porto, Porto, Porto").find("Porto") == (7, 12)
    assert Text("PORTO, porto").find("Porto") == (0, 5)


def test_a_span_takes_the_accents_that_follow() -> None:
    assert cut("Cafe\u0301 X", "CAFÉ") == "Cafe\u0301"
