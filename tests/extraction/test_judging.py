"""What the model gives and the text holds is published, in any language; what it does not give is not.

Each case is a text and an answer to it. No word near a value, no capital letter and no genre decides.
"""

import json
from typing import Any

import pytest

from extraction.documents import Piece
from extraction.merging.evidence import Evidence
from extraction.merging.observations import observe
from extraction.merging.resolve import resolve
from extraction.prompting.reply_parsing import parse
from extraction.schema.company import CompanyProfile, ShortProfile

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
