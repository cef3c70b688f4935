"""What is known of a company: the profile that the project extracts, merges and publishes.

Fields are in the order in which the model writes them. Descriptions are read by the model, lengths and
list limits are checked on its reply (and bound it while it writes, where the grammar can).
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from extraction.countries import country_key, is_country
from extraction.rules import digits_key, latest, name_key, same_words, union, url_key, vote

Short = Annotated[str, StringConstraints(max_length=60)]
Line = Annotated[str, StringConstraints(max_length=160)]
Year = Annotated[int, Field(ge=1000, le=2100)]
Headcount = Annotated[int, Field(ge=0, le=100_000_000)]

# Beginnings of words, folded, beside which a year is that of the founding and a number one of people.
FOUNDING = (
    *("founded", "foundation", "founding", "establish", "since", "incorporat", "set up", "opened", "started"),
    *("fundad", "fundou", "fundacao", "desde", "criad", "criou", "constitu", "abert", "abri", "nasc", "surgi"),
    *("comecou", "inicio de ativ", "inicio das ativ", "began", "in business"),
    *("gegrund", "seit", "fonde", "depuis", "grundad", "opgericht", "costituit"),
)
STAFF = (
    *("employ", "staff", "people", "person", "team", "work", "headcount", "payroll"),
    *("colaborador", "funcionar", "empregad", "trabalha", "pessoa", "quadro", "equipe", "mitarbeit", "salari"),
)

Sector = Literal[
    "agriculture", "mining_energy", "utilities", "construction", "manufacturing", "wholesale_distribution",
    "retail", "transport_logistics", "hospitality_food", "software_it", "telecom_media",
    "financial_services", "real_estate", "professional_services", "education", "health_pharma",
    "public_nonprofit", "other",
]  # fmt: skip


class Part(BaseModel):
    """A piece of a profile: nothing beside its own fields, and every field given."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ShortProfile(Part):
    """The most wanted facts, for models of a few hundred million parameters."""

    name: Annotated[Short | None, vote(key=name_key, alike=same_words)] = Field(description="the company's name")
    city: Annotated[Short | None, vote()] = Field(description="city of its head office")
    country: Annotated[Short | None, vote(key=country_key, valid=is_country)] = Field(
        description="country of its head office"
    )
    founded_year: Annotated[Year | None, vote(cues=FOUNDING)] = Field(description="year in which it was founded")
    website: Annotated[Short | None, vote(key=url_key)] = Field(description="its web address")
    employees: Annotated[Headcount | None, latest(cues=STAFF)] = Field(description="how many people work for it")
    products: Annotated[list[Short], union(limit=12), Field(max_length=4)] = Field(
        description="main products and services"
    )


class Identifier(Part):
    """A number under which a company is registered or listed."""

    scheme: Literal["CNPJ", "EIN", "CIK", "LEI", "VAT", "ISIN", "DUNS", "COMPANY_NUMBER", "TICKER", "OTHER"]
    value: Short
    issuer: Short | None = Field(description="country, exchange or registry, when stated")


class IndustryCode(Part):
    """An entry of an official classification of economic activities."""

    system: Literal["CNAE", "NAICS", "SIC", "NACE", "ISIC", "GICS"]
    code: Short


class Identity(Part):
    """Who the company is."""

    legal_name: Annotated[Line | None, vote(key=name_key, alike=same_words)] = Field(
        description="registered name with its suffix (Inc., Ltd, LTDA, S.A., EIRELI)"
    )
    trade_name: Annotated[Line | None, vote(key=name_key, alike=same_words)] = Field(
        description="name that it trades under"
    )
    former_names: Annotated[list[Line], union(key=name_key, limit=10), Field(max_length=6)]
    identifiers: Annotated[
        list[Identifier], union(key=digits_key, anchor="value", limit=20), Field(max_length=10)
    ] = Field(description="registration numbers, copied exactly")
    legal_form: Annotated[Short | None, vote()]
    founded_year: Annotated[Year | None, vote(cues=FOUNDING)] = Field(description="only if stated")
    status: Annotated[Literal["active", "acquired", "merged", "inactive"] | None, latest(verbatim=False)]
    parent_company: Annotated[Line | None, latest(key=name_key)]
    subsidiaries: Annotated[list[Line], union(key=name_key, limit=50), Field(max_length=20)]
    description: Annotated[Annotated[str, StringConstraints(max_length=600)] | None, vote(verbatim=False)] = Field(
        description="what it does, one to three neutral sentences from this text alone"
    )


class Classification(Part):
    """What kind of company it is."""

    sector: Annotated[Sector | None, vote(verbatim=False)]
    industry: Annotated[Line | None, vote(verbatim=False)] = Field(description="specific industry, a phrase")
    industry_codes: Annotated[
        list[IndustryCode], union(key=digits_key, anchor="code", limit=12), Field(max_length=8)
    ]
    business_models: Annotated[
        list[Literal["B2B", "B2C", "B2G", "marketplace", "saas", "manufacturer", "distributor", "reseller",
                     "service_provider", "franchise", "nonprofit"]],
        union(verbatim=False, limit=5), Field(max_length=5),
    ]  # fmt: skip
    target_customers: Annotated[list[Line], union(verbatim=False, limit=15), Field(max_length=10)]
    markets: Annotated[list[Short], union(limit=30), Field(max_length=15)] = Field(
        description="countries, regions or cities served"
    )


class Person(Part):
    """Somebody who leads or founded the company."""

    name: Line
    role: Line | None = Field(description="title as written: CEO, founder, diretor")


class Scale(Part):
    """How large it is."""

    employees: Annotated[Headcount | None, latest(cues=STAFF)] = Field(
        description="number of people, only if stated"
    )
    revenue: Annotated[Short | None, latest()] = Field(description="amount with currency, as written")
    revenue_year: Annotated[Year | None, latest()]
    people: Annotated[list[Person], union(anchor="name", limit=30), Field(max_length=15)] = Field(
        description="founders, executives, directors"
    )


class Offering(Part):
    """A product or service."""

    name: Line = Field(description="as written")
    kind: Literal["product", "service", "platform", "brand"]
    category: Short | None = Field(description="a few words, such as hydraulic pumps")


class Offerings(Part):
    """What it sells."""

    items: Annotated[list[Offering], union(anchor="name", limit=200), Field(max_length=25)] = Field(
        description="distinct products and services, no name twice"
    )
    brands: Annotated[list[Short], union(limit=30), Field(max_length=15)]


class Award(Part):
    """A certificate or prize."""

    name: Line
    year: Year | None


class Reputation(Part):
    """What others say of it."""

    certifications: Annotated[list[Award], union(anchor="name", limit=30), Field(max_length=12)]
    awards: Annotated[list[Award], union(anchor="name", limit=30), Field(max_length=10)]
    partners: Annotated[list[Line], union(key=name_key, limit=40), Field(max_length=15)]
    clients: Annotated[list[Line], union(key=name_key, limit=60), Field(max_length=20)]


class Address(Part):
    """A place of the company."""

    kind: Literal["headquarters", "registered", "branch", "plant", "store", "other"]
    street: Line | None
    city: Short | None
    region: Short | None = Field(description="state, province or UF")
    postal_code: Short | None
    country: Short | None = Field(description="as written")


class Contact(Part):
    """How to reach it."""

    website: Annotated[Line | None, vote(key=url_key)]
    emails: Annotated[list[Line], union(limit=12), Field(max_length=8)]
    phones: Annotated[list[Short], union(key=digits_key, limit=12), Field(max_length=8)] = Field(
        description="as written, with area code"
    )
    social_urls: Annotated[list[Line], union(key=url_key, limit=12), Field(max_length=8)]
    addresses: Annotated[list[Address], union(anchor="city", limit=20), Field(max_length=10)]


class CompanyProfile(Part):
    """Facts about ONE company stated in the text. null or [] for what it does not say."""

    identity: Identity
    classification: Classification
    scale: Scale
    offerings: Offerings
    reputation: Reputation
    contact: Contact
