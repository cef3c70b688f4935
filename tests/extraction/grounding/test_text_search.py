"""A value stands in a text whole, or not at all; how it is spelled there does not matter."""

import re
from itertools import combinations
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rapidfuzz import fuzz

from extraction.grounding.text_folding import Folded, fold_text
from extraction.grounding.text_search import FUZZY, Text, spellings

ODD = "aZé ñe\u0301ﬁﬃ½…™ßİıſΣ\u00ad\u200b\ufeff\u0301\u00a0\t\n“’–-.,'/:0179\U0001f600\U0001d4d0漢ｶﾞ각์ि\ud800"
texts = st.text() | st.text(alphabet=ODD, max_size=60)
words = st.text(alphabet="abzéñöÃÇ19", min_size=1, max_size=6)


def cut(text: str, value: Any) -> str | None:
    span = Text(text).find(value)
    return text[slice(*span)] if span else None


def nearly(said: str, meant: str) -> bool:
    """Whether only separators of a code, or a letter here and there, differ."""
    return not re.search("[a-z]", meant) or fuzz.ratio(said, meant) >= FUZZY


def flat(text: str) -> str:
    return " ".join(fold_text(text).split())


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
            said, meant = flat(text[start:end]), flat(value)
            same_digits = re.findall(r"\d", said) == re.findall(r"\d", meant)
            letters = [re.sub("[-¬ ]", "", each) for each in (said, meant)]
            assert (
                said in map(flat, spellings(value))
                or (same_digits and nearly(said, meant))
                or len(set(letters)) == 1
            )
        else:
            assert any(c.isdigit() for c in text[start:end])


@given(st.lists(words, min_size=1, max_size=12), st.data())
def test_words_of_a_text_are_found_in_it_however_they_are_written(parts: list[str], data: st.DataObject) -> None:
    blank = st.sampled_from([" ", "\n", "  ", "\t \n", "\u00a0", " \u00ad"])
    text = "".join(part + data.draw(blank) for part in parts)
    first = data.draw(st.integers(0, len(parts) - 1))
    some = parts[first : data.draw(st.integers(first, len(parts) - 1)) + 1]
    value = data.draw(st.sampled_from([str.lower, str.upper, str.title, fold_text]))("  ".join(some))
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
        ("12.50 EUR", 12.5),
        ("CHF 1’234.50", 1234.5),
        ("1.234.567,25 €", 1234567.25),
        ("1 234 567,25 €", 1234567.25),
        (".5 m", 0.5),
        ("−0,5 °C", -0.5),
        ("0.0000001", 1e-7),
        ("1,50,000 Rs", 150_000),
        ("12,34,567", 1_234_567),
        ("創業１９９４年", 1994),
        ("تأسست سنة ١٩٩٤", 1994),
        ("१,२३४.५०", 1234.5),
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
        ("0.5", -0.5),
        ("12.5", 2.5),
        ("12.55", 12.5),
        ("10.5", 0.5),
        ("1.234.5", 1234.5),
        ("1,234,5", 1234.5),
        ("v1.5", 1.5),
        ("1,50,000", 50_000),
        ("١٩٩٤", 99),
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
        ("by Lantern, Inc. of", "Lantern Inc."),
        ("by Lantern Inc of", "Lantern, Inc."),
        ("חברת אור בע״מ", 'אור בע"מ'),
        ("у Камʼянці", "Кам'янці"),
        ("by D´Arno", "D'Arno"),
        ("the \u200eLantern\u200e Ltd", "Lantern Ltd"),
        ("شركة فنـــار", "فنار"),
        ("see https://müller.example/straße", "https://xn--mller-kva.example/stra%C3%9Fe"),
        ("No. 123E4567E89B12D3A456426614174000", "123e4567-e89b-12d3-a456-426614174000"),
        ("open at 09:30", "09:30:00"),
        ("هاتف +٢٠ ٢ ٢٣٤٥ ٦٧٨٩", "+20 2 2345 6789"),
        ("Alder\tinfo@alder.example\tBautzen", "Bautzen"),
        ("info@alder.example,Bautzen,Germany", "Bautzen"),
        ("http://alder.example|Bautzen", "Bautzen"),
        ("(www.alder.example)Bautzen", "Bautzen"),
        ("www.alder.example\u00a0Bautzen", "Bautzen"),
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
        ("my-acme.example", "acme.example"),
        ("www.acme.com.br/loja", "acme.com"),
        ("acme.example/en-us", "acme.example/en"),
        ("sales.info@acme.example", "info@acme.example"),
        ("sales-info@acme.example", "info@acme.example"),
        ("info@acme.com.br", "info@acme.com"),
        ("https://maps.example/search/a,Bautzen", "Bautzen"),
        ("https://acme.example/wiki/Lantern_(Bautzen)", "Bautzen"),
        ("WWW.bautzen.example", "Bautzen"),
        ("open at 09:305", "09:30:00"),
        ("Lantern, a maker, Inc.", "Lantern Inc."),
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


@pytest.mark.parametrize(
    ("value", "text", "quote"),
    [
        ("12345678000190", "CNPJ 12.345.678/0001-90", "12.345.678/0001-90"),
        ("12.345.678/0001-90", "CNPJ 12345678000190.", "12345678000190"),
        ("+1 (703) 555-0142", "Tel. (1) 703\t555-0142", "1) 703\t555-0142"),
        ("703 555 0142", "(703)\t555-0142", "703)\t555-0142"),
        ("Serra Alta Ceramicas Ltda", "a SERRA ALTA CERÂMICA LTDA.", "SERRA ALTA CERÂMICA LTDA"),
        ("Alder and Finch Ltd", "Alder & Finch Ltd makes oak furniture", None),
        ("Mill Lane 12", "at Mill Lane 13", None),
        ("kitchen", "the kitchens", None),
        ("5550142", "35550142", None),
    ],
)
def test_codes_are_found_by_their_digits_and_words_nearly(value: str, text: str, quote: str | None) -> None:
    span = Text(text).find(value)
    assert (text[span[0] : span[1]] if span else None) == quote


def test_a_value_can_be_asked_for_within_a_span() -> None:
    text = Text("in 1900, again in 1900")
    assert text.find(1900) == (3, 7)
    assert text.find(1900, within=(8, 22)) == (18, 22)
    assert text.find(1901, within=(8, 22)) is None


@given(st.text(max_size=40), st.text(max_size=40))
def test_whatever_is_found_is_a_span_of_the_text(value: str, text: str) -> None:
    span = Text(text).find(value)
    assert span is None or 0 <= span[0] < span[1] <= len(text)


@given(st.lists(st.sampled_from(["a", "É", "ﬁ", "  ", "\n\n", "½", "-", "\u00ad", "ß"]), max_size=9), st.data())
def test_a_word_of_the_text_is_found_whatever_stands_around_it(parts: list[str], data: st.DataObject) -> None:
    text = " ".join([*parts, "Wöllstein", *parts])
    written = data.draw(st.sampled_from(["Wöllstein", "wollstein", "WÖLLSTEIN", "Wo\u0308llstein"]))
    span = Text(text).find(written)
    assert span and text[span[0] : span[1]] == "Wöllstein"


@pytest.mark.parametrize(
    ("text", "value", "published"),
    [
        ("by Lantern, Inc. of", "Lantern Inc.", "Lantern Inc."),
        ("by Lantern Workz of", "Lantern Works", "Lantern Workz"),
        ("شركة فنار\u200f السعوديه كبيرة", "فنار السعودية", "فنار السعوديه"),
    ],
)
def test_what_differs_by_signs_alone_is_published_as_it_is_said(text: str, value: str, published: str) -> None:
    span = Text(text).find(value)
    assert span and Text(text).as_written(value, span) == published


def test_a_name_inside_an_address_is_no_name() -> None:
    text = Text("Mail ada@lantern.example or see https://lantern.example/lantern. We are Lantern.")
    assert text.text[slice(*(text.find("Lantern") or (0, 0)))] == "Lantern"
    assert Text("see www.lantern.example").find("lantern") is None
    assert Text("see www.lantern.example").find("www.lantern.example") == (4, 23)


@pytest.mark.parametrize(
    ("spelling", "text", "quote"),
    [
        ("US", "It costs US$ 3", None),
        ("US", "Boise, US", "US"),
    ],
)
def test_a_code_is_found_letter_by_letter_where_codes_stand(spelling: str, text: str, quote: str | None) -> None:
    span = Text(text).find_exactly(spelling)
    assert (text[slice(*span)] if span else None) == quote


def test_the_opposite_is_not_nearly_the_same() -> None:
    assert Text("a year of unprofitable growths").find("profitable growth") is None
    assert Text("hydraulic pumping stations").find("hydraulik pumping stations") == (0, 26)


@pytest.mark.parametrize(
    ("text", "value", "quote", "published"),
    [
        ("Acme Manufac-\nturing Ltd", "Acme Manufacturing Ltd", "Acme Manufac-\nturing Ltd", None),
        ("Acme Manufac- \r\n  turing Ltd", "ACME MANUFACTURING", "Acme Manufac- \r\n  turing", None),
        ("in Stock\u00ad\nholm.", "Stockholm", "Stock\u00ad\nholm", None),
        ("in Stock\u2010\nholm.", "Stockholm", "Stock\u2010\nholm", None),
        ("by Hewlett-\nPackard", "Hewlett-Packard", "Hewlett-\nPackard", None),
        ("in Baden-\nBaden", "Baden-Baden", "Baden-\nBaden", None),
        ("a long-\nterm plan", "long-term", "long-\nterm", None),
        ("Groß- und Klein-\nhandel", "Groß- und Kleinhandel", "Groß- und Klein-\nhandel", None),
        (
            "Hewlett-\nPackard Manufac-\nturing",
            "Hewlett-Packard Manufacturing",
            "Hewlett-\nPackard Manufac-\nturing",
            None,
        ),
        ("see www.acme-\nworks.example.", "www.acme-works.example", "www.acme-\nworks.example", None),
        ("Acme Manufac-\nturing", "Acme Manufac- turing", "Acme Manufac-\nturing", "Acme Manufacturing"),
        ("Manufacturing, Manufac-\nturing", "Manufac-turing", "Manufac-\nturing", "Manufacturing"),
        ("Rolls-Royce, Rolls-\nRoyce", "Rolls- Royce", "Rolls-\nRoyce", "Rolls-Royce"),
        (
            "an Acme Manufac-\nturing Ltda.",
            "Acme Manufacturing Ltd",
            "Acme Manufac-\nturing Ltda",
            "Acme Manufacturing Ltda",
        ),
        ("met Justice Ken-nedy", "Justice Kennedy", "Justice Ken-nedy", None),  # the line end is lost
        ("the Mini\n-\nCons", "Mini-Cons", "Mini\n-\nCons", None),
        ("Καμπή της Λανθάνουσας Δυ-\nνατότητας", "Λανθάνουσας Δυνατότητας", "Λανθάνουσας Δυ-\nνατότητας", None),
        ("permit\nted by the price-\ndetermining", "price-determining", "price-\ndetermining", None),
        ("トヨタ自\n動車は", "トヨタ自動車", "トヨタ自\n動車", None),
        ("삼성전자는", "삼성 전자", "삼성전자", "삼성전자"),
    ],
)
def test_a_word_broken_at_the_end_of_a_line_is_found_and_published_whole(
    text: str, value: str, quote: str, published: str | None
) -> None:
    found = Text(text)
    span = found.find(value)
    assert span
    assert text[slice(*span)] == quote
    assert found.as_written(value, span) == (published or value)


@pytest.mark.parametrize("value", ["Groß- und", "Manufacturings", "Amanufacturing"])
def test_more_than_a_broken_word_is_none(value: str) -> None:
    assert cut("Großund Einzel-\nhandel, Manufac-\nturing", value) is None


@given(
    st.lists(words.filter(str.isalpha), min_size=2, max_size=5), st.sampled_from("-\u2010\u00ad"), st.integers(1, 3)
)
def test_a_name_is_found_wherever_its_words_are_broken(parts: list[str], hyphen: str, width: int) -> None:
    broken = [f"{part[:width]}{hyphen}\n{part[width:]}" if len(part) > width else part for part in parts]
    text, value = f"by Brandt {' '.join(broken)}.", f"Brandt {' '.join(parts)}"
    found = Text(text)
    span = found.find(value)
    assert span
    assert "".join(c for c in text[slice(*span)] if c.isalnum()) == value.replace(" ", "")
    if any("\n" in part for part in broken):
        assert "\n" not in found.as_written(value, span)


GLUED = [  # a text, a name as it is told, and the form of it that stands there where that is another
    ("החברה יושבת בחיפה", "חיפה", None),
    ("ושבתל אביב", "תל אביב", None),
    ("تأسست الشركة بالقاهرة", "القاهرة", None),
    ("مقرها للرياض", "الرياض", "رياض"),
    ("በአዲስ አበባ", "አዲስ አበባ", None),
    ("Şirket İstanbul’da kuruldu", "İstanbul", None),
    ("Şirket Ankaradan ve İzmirde", "Ankara", None),
    ("Garanti Bankasının ışığı", "Garanti Bankası", None),
    ("Bakıda yerləşir", "Bakı", None),
    ("서울에서 삼성전자는", "삼성전자", None),
    ("トヨタは東京に", "東京", None),
    ("Nokian pääkonttori sijaitsee", "Nokia", None),
    ("Yhtiö sijaitsee Helsingissä", "Helsinki", "Helsingissä"),
    ("Outokummun pääkonttori yhtyy", "Outokumpu", "Outokummun"),
    ("Yhtiö toimii Tampereella", "Tampere", None),
    ("Firma Tartus õppinud", "Tartu", None),
    ("A cég Győrben működik", "Győr", None),
    ("A Richternek új szűrője van", "Richter", None),
    ("в Нижнем Новгороде", "Нижний Новгород", "Нижнем Новгород"),
    ("офис в Москве", "Москва", "Москве"),
    ("Алматыда", "Алматы", None),
    ("Spółka w Warszawie", "Warszawa", "Warszawie"),
    ("Sídlí v Brně", "Brno", "Brně"),
    ("Vilniuje įsikūrusi", "Vilnius", "Vilniuje"),
    ("του Πειραιά", "Πειραιάς", "Πειραιά"),
    ("თბილისში", "თბილისი", "თბილისში"),
    ("Երևանում", "Երևան", None),
    ("Stockholms län är", "Stockholm", None),
]


@pytest.mark.parametrize(("text", "value", "form"), GLUED, ids=[value for _, value, _ in GLUED])
def test_what_a_language_glues_to_a_name_does_not_hide_it(text: str, value: str, form: str | None) -> None:
    found = Text(text)
    span = found.find(value)
    assert span
    assert text[slice(*span)] == (form or value)
    assert found.as_written(value, span) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Hamburger Hafen größte", "Hamburg"),
        ("Bayern größter", "Bayer"),
        ("Berliner Straße", "Berlin"),
        ("Nevada, Canada, Indiana, Nigeria, Romania", "Neva"),
        ("Nevada, Canada, Indiana, Nigeria, Romania", "India"),
        ("kitchens für", "kitchen"),
        ("Yhtiö myy kalastusta pääosin", "Kala"),
        ("Романов и Ивановский", "Роман"),
        ("החיפושית", "חיפה"),
        ("www.nokian.example ääyy", "Nokia"),
        ("Firma3 ışık", "Firma"),
    ],
)
def test_what_only_begins_like_a_name_is_none(text: str, value: str) -> None:
    assert cut(text, value) is None


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Jackson", "The Jacksonville plant of Umbrella Corp. opened in La Rochelle."),
        ("Roche", "The Jacksonville plant of Umbrella Corp. opened in La Rochelle."),
        ("Umbra", "The Jacksonville plant of Umbrella Corp. opened in La Rochelle."),
        ("Niger", f"The office in Nigeria is led by Łukasz Nowak. {'It sells pumps to farms and towns. ' * 10}"),
        ("Berg", "Das Werk in Bergen hält das Vakuum, und es läuft gut."),
        ("Inter", "Interval training is what it sells."),
        ("PumpValve", "Products:\nPump\n- Valve\n- Seal"),
    ],
)
def test_a_name_within_another_word_is_none(name: str, text: str) -> None:
    assert Text(text).find(name) is None


@given(st.text(alphabet=f"{ODD}⁻−   ", max_size=40))
def test_a_folded_text_knows_where_its_characters_come_from(text: str) -> None:
    folds = [(" " if c.isspace() else fold_text(c), place) for place, c in enumerate(text)]
    each = [(fold, place) for folded, place in folds for fold in folded]
    kept = [one for one, before in zip(each, [("", 0), *each], strict=False) if not one[0] == before[0] == " "]
    folded = Folded(text)
    assert folded.text == "".join(fold for fold, _ in kept)
    places = [*(place for _, place in kept), len(text)]
    for start, end in combinations(range(len(places)), 2):
        cuts = (start and places[start] == places[start - 1]) or places[end] == places[end - 1]
        assert folded.origin(start, end) == (None if cuts else (places[start], places[end]))
