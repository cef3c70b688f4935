"""What forms say of a company is found without a model, and never made up."""

import json
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from extraction import forms
from extraction.company import CompanyProfile, ShortProfile
from extraction.evidence import Evidence, Observation
from extraction.fields import fields
from extraction.finding import found
from extraction.pieces import Piece
from extraction.resolving import resolve
from extraction.rules import latest, union
from tests.extraction.samples import Vineyard

COVER = """UNITED STATES

SECURITIES AND EXCHANGE COMMISSION

Washington, D.C. 20549

Commission file number 1-442

____________________

THE BEACON COMPANY

(Exact name of registrant as specified in its charter)

Delaware\t91-0425694

(State or other jurisdiction of
incorporation or organization)\t(I.R.S. Employer Identification No.)

929 Mill Drive\tArlington,\tVA\t22202

(Address of principal executive offices)\t(Zip Code)

Registrant’s telephone number, including area code (703)-555-3500

Title of each class\tTrading Symbol(s)\tName of each exchange on which registered

Common Stock, $5.00 Par Value\tBEA\tNew York Stock Exchange
"""
EXTRACT = """CADASTRO NACIONAL DA PESSOA JURÍDICA
NÚMERO DE INSCRIÇÃO: 99.941.307/0001-54 (MATRIZ)
DATA DE ABERTURA: 14/03/1987
NOME EMPRESARIAL: MOINHO ALTO ALIMENTOS LTDA
CÓDIGO E DESCRIÇÃO DA ATIVIDADE ECONÔMICA PRINCIPAL
23.42-7-01 - Fabricação de azulejos
MUNICÍPIO: BLUMENAU
UF: SC
TELEFONE: (47) 5555-0142
CORREIO: nenhum
E-mail: ola@moinhoalto.example
"""
PAGE = """# Tallywise
Tallywise keeps the books of market traders.
Founded: 2019.0
Team size: 6.0
Location: Bellevue, WA, US
Founders: ['Ana Brandt']
Website: https://www.tallywise.example/
Status: Active
"""


def seen(text: str, model: type[BaseModel] = ShortProfile) -> list[Observation]:
    piece = Piece("d", 100, 100 + len(text), 4, len(text), None, None, "x")
    observations = list(found(model, "c", f"# x\n{text}", [piece]))
    for one in observations:
        assert text[one.start - 100 : one.end - 100] == one.quote
        assert one.stated and one.grounded
    return observations


def values(text: str, model: type[BaseModel] = ShortProfile) -> dict[str, Any]:
    told = resolve(model, Evidence(seen(text, model))).values
    return {name: value for name, value in told.items() if value}


def test_a_filing_s_cover_tells_who_files_it() -> None:
    assert values(COVER) == {
        "name": "THE BEACON COMPANY",
        "city": "Arlington",
        "phone": "(703)-555-3500",
        "tax_id": "91-0425694",
        "ticker": "BEA",
    }


def test_a_register_s_extract_tells_what_is_registered() -> None:
    assert values(EXTRACT) == {
        "name": "MOINHO ALTO ALIMENTOS LTDA",
        "city": "BLUMENAU",
        "founded_year": 1987,
        "phone": "(47) 5555-0142",
        "tax_id": "99.941.307/0001-54",
    }
    profile = values(EXTRACT, CompanyProfile)
    assert profile["identity"]["identifiers"] == [{"scheme": "CNPJ", "value": "99.941.307/0001-54", "issuer": None}]
    assert profile["classification"]["industry_codes"] == [{"system": "CNAE", "code": "23.42-7-01"}]
    assert profile["contact"]["emails"] == ["ola@moinhoalto.example"]


def test_a_directory_s_page_tells_what_its_lines_are_about() -> None:
    assert values(PAGE) == {
        "name": "Tallywise",
        "city": "Bellevue",
        "country": "US",
        "founded_year": 2019,
        "website": "https://www.tallywise.example/",
        "employees": 6,
    }


@pytest.mark.parametrize(
    "text",
    [
        "In 1994 Ana Brandt moved to Ulm, Germany; phone her at (206) 555-1000 or see www.acme.example.",
        "Our website is loved by 240 employees. Founded on trust, established in hearts.",
        "CNPJ: 99.941.307/0001-55\nTelefone: 2024\nMunicípio: SP\nWebsite: linkedin.com/company/acme",
        "Employees | 2023 | 2022",
        "City | State | Founded | Website",
        "Município | Estado",
        "Legal name:" + " " * 20_000 + "x",
        "(Exact name of registrant as specified in its charter)",
        "Commission File Number 001-38842\n(Exact name of registrant as specified in its charter)",
        "Razão social:\nCNPJ:\nEndereço:",
        "Founded: 1994 or 1996",
        "Employees: 400,000,000",  # more than the field may have
        "Employees: 1,200,000,000,000,000,000,000",
        "Our staff of 1" + ",000" * 2_000 + " is at your service.",
        "",
    ],
)
def test_what_no_caption_names_or_is_not_of_its_kind_is_left(text: str) -> None:
    assert seen(text) == []


class Mill(BaseModel):
    staff: Annotated[float | None, latest(captions=forms.headcounts), Field(lt=100)]
    numbers: Annotated[list[Annotated[str, Field(max_length=14)]], union(captions=forms.phones)]


def test_what_is_found_is_of_the_field_s_own_type() -> None:
    assert values("Employees: 17\nPhone: (47) 5555-0142", Mill) == {"staff": 17.0, "numbers": ["(47) 5555-0142"]}
    assert [one.value for one in seen("Employees: 17", Mill)] == ["17.0"]
    assert seen("Employees: 170\nPhone: +55 (47) 5555-0142", Mill) == []


def test_a_model_without_captions_finds_nothing() -> None:
    assert seen(COVER, Vineyard) == []


LINES = st.sampled_from([*(COVER + EXTRACT + PAGE).splitlines(), "1994", "ACME", "|", "-", "é"])
RULES = {field.name: field.rule for model in (ShortProfile, CompanyProfile) for field in fields(model)}


@given(st.lists(LINES, max_size=14), st.sampled_from(["\n", "\n\n", "\t", ": ", " "]))
def test_whatever_is_found_stands_there_and_is_valid(lines: list[str], between: str) -> None:
    text = between.join(lines)
    for model in (ShortProfile, CompanyProfile):
        for one in seen(text, model):
            rule, value = RULES[one.field], json.loads(one.value)
            assert rule.accepts(value)
            assert rule.key_of(value) == one.key
            said = " ".join(one.quote.split())
            told = rule.quote_of(value)
            assert str(told) in said or "".join(filter(str.isdigit, said)).startswith(str(told))
