"""Signals: what is known of a value of an answer, and of one that a finder reads in the text."""

from typing import Any

from extraction.documents import UNKNOWN_COMPANY, KnownCompany, Piece
from extraction.merging.observations import Seen, seen
from extraction.prompting.reply_parsing import Parsed
from extraction.schema.company import ShortProfile

CONTRACT = (
    "Buyer: TOWN OF ALDER, CNPJ 11.222.333/0001-81. Supplier: BIRCH PUMPS LTDA, CNPJ 12.345.678/0001-95.\n"
    "Pumps for the water works."
)
EMPTY: dict[str, Any] = {name: [] if name == "products" else None for name in ShortProfile.model_fields}


def signals(
    text: str, known: KnownCompany = UNKNOWN_COMPANY, scores: Any = None, **answer: Any
) -> dict[tuple[str, str], Seen]:
    """What is seen in one document, by field and value."""
    profile = ShortProfile.model_validate({**EMPTY, "kind": "organization", **answer})
    piece = Piece("d", 0, len(text), 0, len(text), None, None, "in#0")
    found = seen(Parsed(profile, scores), text, [piece], known)
    return {(one.value.field.name, str(one.value.value)): one for one in found}


def test_every_number_of_a_text_is_a_rival_of_the_others() -> None:
    found = signals(CONTRACT, name="BIRCH PUMPS LTDA")
    numbers = {value: one.signals for (field, value), one in found.items() if field == "tax_id"}
    assert {value: one.rivals for value, one in numbers.items()} == {
        "11.222.333/0001-81": 1,
        "12.345.678/0001-95": 1,
    }
    assert not any(one.given or one.known for one in numbers.values())


def test_the_number_behind_a_known_company_s_name_has_no_rival() -> None:
    found = signals(CONTRACT, KnownCompany("Birch Pumps"), name="BIRCH PUMPS LTDA")
    assert found["name", "BIRCH PUMPS LTDA"].signals.known
    rivals = {value: one.signals.rivals for (field, value), one in found.items() if field == "tax_id"}
    assert rivals == {"11.222.333/0001-81": 1, "12.345.678/0001-95": 0}
    buyer = signals(CONTRACT, KnownCompany("Town of Alder"), name="BIRCH PUMPS LTDA")
    assert not buyer["name", "BIRCH PUMPS LTDA"].signals.known
    rivals = {value: one.signals.rivals for (field, value), one in buyer.items() if field == "tax_id"}
    assert rivals == {"11.222.333/0001-81": 0, "12.345.678/0001-95": 1}


def test_an_answer_that_abstains_leaves_what_stands_by_a_known_company() -> None:
    wrong: dict[str, Any] = {"kind": "document", "name": "BIRCH PUMPS LTDA"}
    assert signals(CONTRACT, **wrong) == {}
    assert signals(CONTRACT, KnownCompany("Cedar Mills"), **wrong) == {}
    found = signals(CONTRACT, KnownCompany("Birch Pumps"), **wrong)
    assert {field for field, _ in found} == {"tax_id"}
    assert all(one.signals.known and one.signals.subject is None for one in found.values())


def test_a_value_of_the_model_that_a_finder_has_too_has_its_rivals() -> None:
    found = signals(CONTRACT, name="BIRCH PUMPS LTDA", tax_id="12345678000195")
    (one,) = (one.signals for one in found.values() if one.value.key == "12345678000195")
    assert (one.given, one.rivals, one.exact) == (True, 1, False)


def test_a_word_that_another_field_gives_more_surely_is_outdone() -> None:
    text = "Aula Viva, México, teaches."
    scores = {"city": -1.5, "country": -0.1, "name": -0.2}
    found = signals(text, scores=scores, name="Aula Viva", city="México", country="México")
    assert {field: one.signals.outdone for (field, _), one in found.items() if field != "kind"} == {
        "name": False,
        "city": True,
        "country": False,
    }


def test_an_address_like_the_company_s_name_is_akin() -> None:
    text = "Birch Pumps: www.birch-pumps.example, sales@birchpumps.example, www.city-of-alder.example"
    found = signals(text, name="Birch Pumps")
    assert {value: one.signals.akin for (field, value), one in found.items() if field in ("website", "email")} == {
        "www.birch-pumps.example": True,
        "sales@birchpumps.example": True,
        "www.city-of-alder.example": False,
    }
