"""What the model gives and the text holds is published, in any language; what it does not give is not.

Each case is a text and an answer to it. No word near a value, no capital letter and no genre decides.
"""

import json
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel

from extraction.documents import Piece
from extraction.merging.evidence import Evidence, Observation
from extraction.merging.observations import observe
from extraction.merging.publish_decision import resolve
from extraction.prompting.reply_parsing import Parsed, parse
from extraction.schema.company import CompanyProfile, ShortProfile
from extraction.schema.merge_rules import quoted, subject, union, vote
from tests.extraction.samples import Cellar, Plot, Vineyard

TEXT = "ANA  BRANDT\nmakes Tinta Roriz in Pinhão since 1874; 2.5 ha at Cima."


def piece(document: str, start: int, length: int, at: int = 0) -> Piece:
    return Piece(
        document_id=document,
        start=start,
        end=start + length,
        at=at,
        length=length,
        document_type=None,
        document_date="2024",
        source_path=f"{document}.parquet#row=0",
    )


def asked(profile: BaseModel, text: str) -> dict[str, Observation]:
    """The observations on one document, by field."""
    return {o.field: o for o in observe(Parsed(profile), "c", text, [piece("d", 0, len(text))])}


def test_an_answer_is_looked_up_in_every_document_of_its_chunk() -> None:
    profile = Vineyard(
        owner="Ana Brandt",
        style="red",
        cellar=Cellar(town="Porto", opened=1874, phones=[""]),
        grapes=["tinta roriz"],
        plots=[Plot(name="Cima", hectares=2.5)],
        organic=True,
    )
    pieces = [piece(document, start, len(TEXT), at=4) for document, start in (("d1", 0), ("d2", 1000))]
    seen = sorted(observe(Parsed(profile), "c", f"# A\n{TEXT}", pieces))
    assert {(o.field, o.document_id) for o in seen if o.grounded} == {
        (field, document) for field in ("owner", "cellar.opened", "grapes", "plots") for document in ("d1", "d2")
    }
    assert {o.field for o in seen if not o.grounded} == {"style", "cellar.town", "organic"}
    for o in seen:
        assert o.start < 0 or TEXT[o.start % 1000 : o.end % 1000] == o.quote
    assert resolve(Vineyard, Evidence(seen)).values == {
        "owner": "Ana Brandt",
        "style": "red",
        "soil": None,
        "grapes": ["tinta roriz"],
        "organic": True,
        "prizes": [],
        "plots": [{"name": "Cima", "hectares": 2.5}],
        "cellar": {"town": None, "opened": 1874, "phones": []},
        "story": None,
    }


def test_a_value_that_no_column_holds_is_dropped() -> None:
    class Well(BaseModel):
        depth: int | None
        yields: list[float | None] = []
        name: str | None = None

    text = "Dug 123456789012345678901234 feet deep, then 40."
    assert asked(Well(depth=123456789012345678901234), text) == {}
    assert asked(Well(depth=None, yields=[float("inf"), 40.0], name="\ud800"), text).keys() == {"yields"}
    assert asked(Well(depth=40), text)["depth"].value == "40"


class Person(BaseModel):
    name: str
    role: str | None
    kind: Literal["owner", "guest"] | None = None
    note: Annotated[str | None, vote(verbatim=False)] = None


class Words(BaseModel):
    field: Literal["opened", "mood"]
    quote: str


class Inn(BaseModel):
    about: Annotated[Literal["inn", "none"], subject("inn")] = "inn"
    town: str | None = None
    opened: int | None = None
    mood: Annotated[Literal["calm", "loud"] | None, vote(verbatim=False)] = None
    people: Annotated[list[Person], union(anchor="name")] = []
    quotes: Annotated[list[Words], quoted()] = []


def test_an_answer_that_abstains_says_nothing() -> None:
    assert asked(Inn(about="none", town="Ulm", opened=1900), "An inn in Ulm, 1900.") == {}


def test_the_parts_of_an_item_that_do_not_stand_near_it_are_left_out() -> None:
    text = "Ida Lund, cook. " + "x " * 300 + "mayor"
    people = [Person(name="Ida Lund", role="Cook", kind="guest", note="kind to all")]
    assert '"role": "Cook"' in asked(Inn(people=people), text)["people"].value
    far = asked(Inn(people=[people[0].model_copy(update={"role": "mayor"})]), text)["people"]
    assert (
        far.grounded
        and '"role": null' in far.value
        and '"kind": "guest"' in far.value
        and "kind to all" in far.value
    )


def test_an_item_with_an_invented_part_that_may_not_be_null_is_no_fact() -> None:
    class Room(BaseModel):
        name: str
        floor: int

    class House(BaseModel):
        rooms: Annotated[list[Room], union(anchor="name")]

    text = "The blue room is on floor 2."
    assert asked(House(rooms=[Room(name="blue room", floor=2)]), text)["rooms"].grounded
    assert not asked(House(rooms=[Room(name="blue room", floor=3)]), text)["rooms"].grounded


def test_a_value_stands_in_the_words_quoted_for_it() -> None:
    text = "Burnt down in 1900. The new house was opened in 1900."
    quoted = Inn(opened=1900, quotes=[Words(field="opened", quote="was opened in 1900")])
    assert asked(quoted, text)["opened"].start == text.rindex("1900")
    invented = Inn(opened=1900, quotes=[Words(field="opened", quote="it opened its doors")])
    assert asked(invented, text)["opened"].start == text.index("1900")


def test_a_reading_stands_where_its_quote_does() -> None:
    text = "You hear the clock at night."
    read = asked(Inn(mood="calm", quotes=[Words(field="mood", quote="hear the clock")]), text)["mood"]
    assert (read.quote, read.value) == ("hear the clock", '"calm"')
    assert not asked(Inn(mood="calm"), "A calm house.")["mood"].grounded


def test_a_reading_of_several_documents_is_of_each_of_them_with_its_trust() -> None:
    pieces = [piece(document, start, 7, at=start) for document, start in (("d1", 0), ("d1", 7), ("d2", 14))]
    seen = list(observe(Parsed(Inn(mood="calm")), "c", "A calm house by a lake.", pieces))
    assert [(o.field, o.document_id, o.grounded) for o in seen] == [("mood", "d1", False), ("mood", "d2", False)]
    loud = [Observation("mood", "loud", '"loud"', d, "c2", -1, -1, "", "", "", 0.5, False) for d in ("d2",)]
    assert resolve(Inn, Evidence([*seen, *loud])).values["mood"] == "calm"


def test_a_value_stands_where_the_text_writes_it_otherwise_letter_by_letter() -> None:
    class Club(BaseModel):
        land: Annotated[str | None, vote(spellings=lambda land: ("US", "EUA"))]

    assert asked(Club(land="United States"), "Contact us. Boise, US")["land"].quote == "US"
    assert not asked(Club(land="United States"), "Contact us in Boise.")["land"].grounded


def test_a_value_that_is_off_by_a_letter_is_published_as_the_document_writes_it() -> None:
    seen = asked(Inn(town="Sankt Georgen im Schwarzwlad"), "Die Post in St. Sankt Georgen im Schwarzwald.")["town"]
    assert (seen.value, seen.key) == ('"Sankt Georgen im Schwarzwald"', "sankt georgen im schwarzwald")


NOTHING: dict[str, Any] = {name: [] if name == "products" else None for name in ShortProfile.model_fields}


def published(text: str, **answer: Any) -> dict[str, Any]:
    """The short profile of one document whose answer gives these fields and no other."""
    reply = json.dumps({**NOTHING, "kind": "organization", **answer})
    piece = Piece("d", 0, len(text), 0, len(text), None, None, "in#0")
    return resolve(ShortProfile, Evidence(observe(parse(reply, "stop", ShortProfile), "c", text, [piece]))).values


MISLEADING = [
    (
        "Norwood Holdings PLC of Leeds, England, since 1901. It bought Tessel AG. The company was founded in 1957 "
        "and is headquartered in Basel, Switzerland.",
        {"name": "Norwood Holdings PLC", "city": "Leeds", "country": "England", "founded_year": 1901},
    ),
    ("Jane Cole joined Zephyr Foods. Before that the company was founded in 1999.", {"name": "Zephyr Foods"}),
    ("Lumen raised $5M from Orchard Partners. The firm is based in Boston, Massachusetts.", {"name": "Lumen"}),
    (
        "Deloitte & Touche LLP\nReport of Independent Accountants\nTo the shareholders of Acme Pumps, Inc.",
        {"name": "Acme Pumps, Inc."},
    ),
    ("The company is based in spirit in Yorkshire, England; its looms stand in Leeds.", {"city": "Leeds"}),
    ("Ploom is based in the cloud, California.", {"name": "Ploom"}),
    ("Orbis Re is domiciled in Hamilton, Bermuda but is headquartered in Zurich.", {"city": "Zurich"}),
    ("In 1932 the company employed 3,000 workers on the dam. Today it is a museum.", {}),
    ("There are 12 of us in my family and we all eat Hana bread", {"name": "Hana"}),
    ("Exposição Luz / Abertura: 14/03/2023", {}),
    ("Microsoft Corporation\nAddress: 5 Hill Road, Dublin\nFounded: chess club 1998", {}),
    ("Suppliers of Nordwind AB\nCompany name: Plasta Oy\nCity: Tampere\nEmployees: 40", {"name": "Nordwind AB"}),
    ("Endereço: Rua das Flores 10, Lisboa. Apartamento com dois quartos.", {}),
    ("Ort: Hamburg\nWebsite: www.summerfair-hamburg.de", {}),
    ("Invoice\nBill to\nAddress: 12 King Street, Leeds", {}),
    ("Staff: 1 for every 8 children. We have 34 employees.", {"employees": 34}),
    ("Returns\nAddress: Warehouse 4, Poznań, Poland", {}),
    ("Location: Porto, Portugal\nEmployees: 3 wanted", {}),
    ("A Bosch comprou a Metalúrgica Sul em 2010. A empresa foi fundada em 1951", {"name": "Bosch"}),
]


@pytest.mark.parametrize(("text", "answer"), MISLEADING)
def test_no_words_of_a_text_add_or_overrule_what_the_model_says(text: str, answer: dict[str, Any]) -> None:
    found = published(text, **answer)
    website = found.pop("website")  # a web address is found by its standard, whatever the model says
    assert {name: value for name, value in found.items() if value not in (None, [])} == answer
    assert website in (None, "www.summerfair-hamburg.de")


NAMES = [
    "lululemon athletica inc.", "the north face", "Caisse nationale de crédit agricole", "Caixa geral de depósitos",
    "Société nationale des chemins de fer français", "Banque populaire du nord", "Der grüne punkt", "The body shop",
    "Item 9 Labs Corp.", "Chapter 4 Corp.", "Section 8 Records", "Schedule 1 Therapeutics", "Common Stock Photos",
    "Market Information Systems Inc", "Item 7 Wines", "7 West Coffee", "5 Star Trail", "99 Ranch Way",
    "Toyota Motor, Japan", "ACME, Germany", "March 2020 Capital", "Jordan", "Mrs. Fields", "Mr. Price",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_no_name_is_refused(name: str) -> None:
    assert published(f"A word on {name} and others.", name=name)["name"] == name


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("Firma została założona w 1991 roku w Krakowie", "founded_year", 1991),
        ("設立: 1998年4月 従業員数: 320名", "founded_year", 1998),
        ("設立: 1998年4月 従業員数: 320名", "employees", 320),
        ("основано в 1991 году, 120 сотрудников", "founded_year", 1991),
        ("основано в 1991 году, 120 сотрудников", "employees", 120),
        ("Cuenta con 450 empleados", "employees", 450),
        ("120 dipendenti", "employees", 120),
        ("85 medewerkers", "employees", 85),
        ("45 anställda", "employees", 45),
        ("Kroma Foods launched in 2014.", "founded_year", 2014),
        ("Kroma Foods (1998)", "founded_year", 1998),
        ("Anna Weiss, founder of Kroma Foods, spoke", "name", "Kroma Foods"),
        ("the chief executive officer of Kroma Foods GmbH", "name", "Kroma Foods GmbH"),
        ("PAR on the NYSE", "ticker", "PAR"),
        ("FORM rose", "ticker", "FORM"),
        ("ASX: ASX", "ticker", "ASX"),
        ("Tokyo: 9984", "ticker", "9984"),
        ("上海 600519", "ticker", "600519"),
        ("Find us at yelp.com", "website", "yelp.com"),
        ("Find us at github.com", "website", "github.com"),
        ("x.com is ours", "website", "x.com"),
        ("An office in Vic", "city", "Vic"),
        ("In Goiás", "city", "Goiás"),
        ("In Glarus", "city", "Glarus"),
        ("I Ås", "city", "Ås"),
        ("In Tasmania", "city", "Tasmania"),
        ("The Port of Rotterdam", "city", "Rotterdam"),
        ("A New York consulting firm", "city", "New York"),
        ("A workshop in Lyon." + " x" * 100 + " The headquarters of its client are in Paris.", "city", "Lyon"),
    ],
)
def test_what_is_right_and_stands_in_the_text_is_published(text: str, field: str, value: Any) -> None:
    assert published(text, **{field: value})[field] == value


@pytest.mark.parametrize("amount", ["12,5 miljoner kronor", "4,2 mdr kr", "500億円", "3 млрд руб.", "zł 30 mln"])
def test_an_amount_of_any_language_is_published(amount: str) -> None:
    def empty(model: Any) -> Any:
        schema = model.model_json_schema()

        def node(part: dict[str, Any]) -> Any:
            if "$ref" in part:
                inner = schema["$defs"][part["$ref"].rsplit("/", 1)[1]]
                return {name: node(inner_part) for name, inner_part in inner["properties"].items()}
            return [] if part.get("type") == "array" else part["enum"][0] if "enum" in part else None

        return {name: node(part) for name, part in schema["properties"].items()}

    answer = empty(CompanyProfile)
    answer["scale"]["revenue"] = {"amount": amount, "year": None}
    text = f"It took in {amount} then."
    piece = Piece("d", 0, len(text), 0, len(text), None, None, "in#0")
    parsed = parse(json.dumps(answer), "stop", CompanyProfile)
    values = resolve(CompanyProfile, Evidence(observe(parsed, "c", text, [piece]))).values
    assert values["scale"]["revenue"] == {"amount": amount, "year": None}
