"""The company profile: the fields that the project extracts, merges and publishes.

The model writes fields in the order in which they stand here. It reads the descriptions. Lengths and list limits
are checked on its reply, and bound it while it writes where the grammar can.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from extraction.grounding.amounts import amount_key
from extraction.grounding.company_names import company_key, same_company
from extraction.grounding.contacts import (
    email_key,
    is_email,
    is_phone,
    is_url,
    phone_key,
    same_phone,
    url_key,
    website_key,
)
from extraction.grounding.identifiers import (
    identifier_key,
    industry_code_key,
    is_identifier,
    is_tax_id,
    number_key,
    ticker_key,
)
from extraction.grounding.places import country_key, country_spellings
from extraction.grounding.text_folding import text_key
from extraction.grounding.value_finders import (
    find_emails,
    find_identifiers,
    find_phones,
    find_tax_ids,
    find_websites,
)
from extraction.schema.merge_rules import latest, medoid, quoted, subject, union, vote

Short = Annotated[str, StringConstraints(max_length=60)]
Line = Annotated[str, StringConstraints(max_length=160)]
Year = Annotated[int, Field(ge=1000, le=2100)]
Headcount = Annotated[int, Field(ge=0, le=100_000_000)]


def _without_titles(schema: dict[str, Any]) -> None:
    """Titles repeat the names of fields: a seventh of the schema."""
    for node in (schema, *schema.get("properties", {}).values()):
        node.pop("title", None)


class ProfilePart(BaseModel):
    """A piece of a profile: nothing beside its own fields, and every field given."""

    model_config = ConfigDict(extra="forbid", frozen=True, json_schema_extra=_without_titles)


class Identifier(ProfilePart):
    """A number under which a company is registered or listed."""

    scheme: Literal["CNPJ", "EIN", "CIK", "LEI", "VAT", "ISIN", "DUNS", "COMPANY_NUMBER", "TICKER", "OTHER"]
    value: Short
    issuer: Short | None = Field(description="country, exchange or registry, when stated")


class IndustryCode(ProfilePart):
    """An entry of an official classification of economic activities."""

    system: Literal["CNAE", "NAICS", "SIC", "NACE", "ISIC", "GICS"]
    code: Short


class Person(ProfilePart):
    """Somebody who leads or founded the company."""

    name: Line
    role: Line | None = Field(description="title as written: CEO, founder, diretor")


class Revenue(ProfilePart):
    """What it took in within a year."""

    amount: Short = Field(description="with currency, as written")
    year: Year | None


class Offering(ProfilePart):
    """A product or service."""

    name: Line = Field(description="as written")
    kind: Literal["product", "service", "platform", "brand"]
    category: Annotated[Short | None, vote(verbatim=False)] = Field(
        description="a few words, such as hydraulic pumps"
    )


class Award(ProfilePart):
    """A certificate or prize."""

    name: Line
    year: Year | None


class Address(ProfilePart):
    """A place of the company."""

    kind: Literal["headquarters", "registered", "branch", "plant", "store", "other"]
    street: Line | None
    city: Short | None
    region: Short | None = Field(description="state, province or UF")
    postal_code: Short | None
    country: Short | None = Field(description="as written")


def address_key(item: Any) -> str:
    """Equal for addresses with the same street and city; without a street, with the same postal code and city."""
    if not isinstance(item, dict):
        return text_key(item)
    street, code, city = (text_key(item.get(part) or "") for part in ("street", "postal_code", "city"))
    place = " ".join(sorted(street.split())) or code
    return " ".join(filter(None, (city, place))) or text_key(" ".join(str(v) for v in item.values() if v))


class Quote(ProfilePart):
    """The words from which a field was taken."""

    field: Literal["legal_name", "founded_year", "status", "parent_company", "sector", "employees", "revenue"]
    quote: Line = Field(description="copied from the text, exactly")


NAME_RULE = vote(key=company_key, alike=same_company, identifies=True)
COUNTRY = vote(key=country_key, spellings=country_spellings)
WEBSITE = vote(key=website_key, check=is_url, find=find_websites, identifies=True)
PHONE = vote(key=phone_key, alike=same_phone, check=is_phone, find=find_phones)
EMAIL = vote(key=email_key, check=is_email, find=find_emails)
TAX_ID = vote(key=number_key, check=is_tax_id, find=find_tax_ids, identifies=True)

Sector = Literal[
    "agriculture", "mining_energy", "utilities", "construction", "manufacturing", "wholesale_distribution",
    "retail", "transport_logistics", "hospitality_food", "software_it", "telecom_media",
    "financial_services", "real_estate", "professional_services", "education", "health_pharma",
    "public_nonprofit", "other",
]  # fmt: skip


class ShortProfile(ProfilePart):
    """The most wanted facts, for models of a few hundred million parameters."""

    name: Annotated[Short | None, NAME_RULE] = Field(description="what the text is about: the company's name")
    kind: Annotated[
        Literal["organization", "person", "place", "event", "product", "document", "text"] | None,
        subject("organization"),
    ] = Field(description="what that is")
    city: Annotated[Short | None, vote()] = Field(description="city of its head office")
    country: Annotated[Short | None, COUNTRY] = Field(description="country of its head office")
    founded_year: Annotated[Year | None, vote()] = Field(description="year in which it was founded")
    website: Annotated[Short | None, WEBSITE] = Field(description="its web address")
    email: Annotated[Short | None, EMAIL] = Field(description="its mail address")
    phone: Annotated[Short | None, PHONE] = Field(description="its telephone number")
    tax_id: Annotated[Short | None, TAX_ID] = Field(description="tax number: EIN, CNPJ, VAT")
    ticker: Annotated[Short | None, vote(key=ticker_key)] = Field(description="stock exchange symbol")
    employees: Annotated[Headcount | None, latest()] = Field(description="how many people work for it")
    products: Annotated[list[Short], union(limit=12), Field(max_length=4)] = Field(
        description="main products and services"
    )


class Identity(ProfilePart):
    """Who the company is."""

    legal_name: Annotated[Line | None, NAME_RULE] = Field(
        description="registered name with its suffix (Inc., Ltd, LTDA, S.A., EIRELI)"
    )
    trade_name: Annotated[Line | None, NAME_RULE] = Field(description="name that it trades under")
    former_names: Annotated[list[Line], union(key=company_key, limit=10), Field(max_length=6)]
    identifiers: Annotated[
        list[Identifier],
        union(
            key=identifier_key,
            anchor="value",
            whole=True,
            check=is_identifier,
            find=find_identifiers,
            identifies=True,
            limit=20,
        ),
        Field(max_length=10),
    ] = Field(description="registration numbers, copied exactly")
    legal_form: Annotated[Short | None, vote()]
    founded_year: Annotated[Year | None, vote()] = Field(description="only if stated")
    status: Annotated[Literal["active", "acquired", "merged", "inactive"] | None, latest(verbatim=False)]
    parent_company: Annotated[Line | None, latest(key=company_key)]
    subsidiaries: Annotated[list[Line], union(key=company_key, limit=50), Field(max_length=20)]
    description: Annotated[Annotated[str, StringConstraints(max_length=600)] | None, medoid()] = Field(
        description="what it does, one to three neutral sentences from this text alone"
    )


class Classification(ProfilePart):
    """What kind of company it is."""

    sector: Annotated[Sector | None, vote(verbatim=False)]
    industry: Annotated[Line | None, medoid()] = Field(description="specific industry, a phrase")
    industry_codes: Annotated[
        list[IndustryCode],
        union(key=industry_code_key, anchor="code", whole=True, limit=12),
        Field(max_length=8),
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


class Scale(ProfilePart):
    """How large it is."""

    employees: Annotated[Headcount | None, latest()] = Field(description="number of people, only if stated")
    revenue: Annotated[Revenue | None, latest(key=amount_key, anchor="amount")]
    people: Annotated[list[Person], union(anchor="name", limit=30), Field(max_length=15)] = Field(
        description="founders, executives, directors"
    )


class Offerings(ProfilePart):
    """What it sells."""

    items: Annotated[list[Offering], union(anchor="name", limit=200), Field(max_length=25)] = Field(
        description="distinct products and services, no name twice"
    )
    brands: Annotated[list[Short], union(limit=30), Field(max_length=15)]


class Reputation(ProfilePart):
    """What others say of it."""

    certifications: Annotated[list[Award], union(anchor="name", limit=30), Field(max_length=12)]
    awards: Annotated[list[Award], union(anchor="name", limit=30), Field(max_length=10)]
    partners: Annotated[list[Line], union(key=company_key, limit=40), Field(max_length=15)]
    clients: Annotated[list[Line], union(key=company_key, limit=60), Field(max_length=20)]


class Contact(ProfilePart):
    """How to reach it."""

    website: Annotated[Line | None, WEBSITE]
    emails: Annotated[
        list[Line], union(key=email_key, check=is_email, find=find_emails, limit=12), Field(max_length=8)
    ]
    phones: Annotated[
        list[Short],
        union(key=phone_key, alike=same_phone, check=is_phone, find=find_phones, limit=12),
        Field(max_length=8),
    ] = Field(description="as written, with area code")
    social_urls: Annotated[list[Line], union(key=url_key, check=is_url, limit=12), Field(max_length=8)]
    addresses: Annotated[
        list[Address],
        union(key=address_key, anchor=("street", "postal_code", "city"), whole=True, limit=20),
        Field(max_length=10),
    ]


class CompanyProfile(ProfilePart):
    """Facts about ONE company stated in the text. null or [] for what it does not say."""

    about: Annotated[Literal["company", "no_company"], subject("company")] = Field(
        description="no_company if the text is about no company; then all else is null or []"
    )
    identity: Identity
    classification: Classification
    scale: Scale
    offerings: Offerings
    reputation: Reputation
    contact: Contact
    quotes: Annotated[list[Quote], quoted(), Field(max_length=7)] = Field(
        description="one for each of these fields that is given"
    )
