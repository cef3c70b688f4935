"""What is known of a company: the profile that the project extracts, merges and publishes.

Fields are in the order in which the model writes them. Descriptions are read by the model, lengths and
list limits are checked on its reply (and bound it while it writes, where the grammar can).
"""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from extraction import forms, sentences
from extraction.addresses import address_key
from extraction.amounts import amount_key, is_amount
from extraction.certificates import certification_key
from extraction.contacts import (
    email_key,
    is_email,
    is_phone,
    is_url,
    is_website,
    phone_key,
    same_phone,
    url_key,
    website_key,
)
from extraction.cues import LISTING, NAMED, PERSON, SEAT, STAFF, TAX
from extraction.identifiers import (
    identifier_key,
    industry_code_key,
    is_identifier,
    is_industry_code,
    is_tax_id,
    is_ticker,
    tax_id_key,
    ticker_key,
)
from extraction.items import (
    Address,
    Award,
    Headcount,
    Identifier,
    IndustryCode,
    Line,
    Offering,
    Part,
    Person,
    Quote,
    Revenue,
    Short,
    Year,
)
from extraction.meaning import is_city_itself, is_founding, is_in_words
from extraction.names import company_key, is_company_name, same_company
from extraction.people import person_key
from extraction.places import city_key, city_name, country_key, country_spellings, is_city, is_country
from extraction.rules import latest, medoid, quoted, subject, union, vote

NAME = vote(
    key=company_key,
    alike=same_company,
    valid=is_company_name,
    hints=NAMED,
    unless=PERSON,
    cased=True,
    captions=forms.names,
)

CITY = vote(
    key=city_key,
    valid=is_city,
    hints=SEAT,
    stands=is_city_itself,
    form=city_name,
    captions=forms.cities,
    phrases=sentences.cities,
)
COUNTRY = vote(
    key=country_key,
    valid=is_country,
    spellings=country_spellings,
    captions=forms.countries,
    phrases=sentences.countries,
)
FOUNDED = vote(stands=is_founding, captions=forms.founding_years, phrases=sentences.founding_years)
WEBSITE = vote(key=website_key, valid=is_website, captions=forms.websites)
EMPLOYEES = latest(cues=STAFF, stands=is_in_words, captions=forms.headcounts, phrases=sentences.headcounts)

Sector = Literal[
    "agriculture", "mining_energy", "utilities", "construction", "manufacturing", "wholesale_distribution",
    "retail", "transport_logistics", "hospitality_food", "software_it", "telecom_media",
    "financial_services", "real_estate", "professional_services", "education", "health_pharma",
    "public_nonprofit", "other",
]  # fmt: skip


class ShortProfile(Part):
    """The most wanted facts, for models of a few hundred million parameters."""

    name: Annotated[Short | None, NAME] = Field(description="the company's name")
    city: Annotated[Short | None, CITY] = Field(description="city of its head office")
    country: Annotated[Short | None, COUNTRY] = Field(description="country of its head office")
    founded_year: Annotated[Year | None, FOUNDED] = Field(description="year in which it was founded")
    website: Annotated[Short | None, WEBSITE] = Field(description="its web address")
    phone: Annotated[Short | None, vote(key=phone_key, alike=same_phone, valid=is_phone, captions=forms.phones)] = (
        Field(description="its telephone number")
    )
    tax_id: Annotated[Short | None, vote(key=tax_id_key, valid=is_tax_id, hints=TAX, captions=forms.tax_ids)] = (
        Field(description="tax number: EIN, CNPJ, VAT")
    )
    ticker: Annotated[Short | None, vote(key=ticker_key, valid=is_ticker, cues=LISTING, captions=forms.tickers)] = (
        Field(description="stock exchange symbol")
    )
    employees: Annotated[Headcount | None, EMPLOYEES] = Field(description="how many people work for it")
    products: Annotated[list[Short], union(limit=12), Field(max_length=4)] = Field(
        description="main products and services"
    )


class Identity(Part):
    """Who the company is."""

    legal_name: Annotated[Line | None, NAME] = Field(
        description="registered name with its suffix (Inc., Ltd, LTDA, S.A., EIRELI)"
    )
    trade_name: Annotated[
        Line | None, vote(key=company_key, alike=same_company, valid=is_company_name, unless=PERSON)
    ] = Field(description="name that it trades under")
    former_names: Annotated[
        list[Line], union(key=company_key, valid=is_company_name, limit=10), Field(max_length=6)
    ]
    identifiers: Annotated[
        list[Identifier],
        union(
            key=identifier_key,
            anchor="value",
            whole=True,
            valid=is_identifier,
            limit=20,
            captions=forms.identifiers,
        ),
        Field(max_length=10),
    ] = Field(description="registration numbers, copied exactly")
    legal_form: Annotated[Short | None, vote()]
    founded_year: Annotated[Year | None, FOUNDED] = Field(description="only if stated")
    status: Annotated[Literal["active", "acquired", "merged", "inactive"] | None, latest(verbatim=False)]
    parent_company: Annotated[Line | None, latest(key=company_key, valid=is_company_name)]
    subsidiaries: Annotated[
        list[Line], union(key=company_key, valid=is_company_name, limit=50), Field(max_length=20)
    ]
    description: Annotated[Annotated[str, StringConstraints(max_length=600)] | None, medoid()] = Field(
        description="what it does, one to three neutral sentences from this text alone"
    )


class Classification(Part):
    """What kind of company it is."""

    sector: Annotated[Sector | None, vote(verbatim=False)]
    industry: Annotated[Line | None, medoid()] = Field(description="specific industry, a phrase")
    industry_codes: Annotated[
        list[IndustryCode],
        union(
            key=industry_code_key,
            anchor="code",
            whole=True,
            valid=is_industry_code,
            limit=12,
            captions=forms.industry_codes,
        ),
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


class Scale(Part):
    """How large it is."""

    employees: Annotated[Headcount | None, EMPLOYEES] = Field(description="number of people, only if stated")
    revenue: Annotated[Revenue | None, latest(key=amount_key, anchor="amount", valid=is_amount)]
    people: Annotated[list[Person], union(key=person_key, anchor="name", limit=30), Field(max_length=15)] = Field(
        description="founders, executives, directors"
    )


class Offerings(Part):
    """What it sells."""

    items: Annotated[list[Offering], union(anchor="name", limit=200), Field(max_length=25)] = Field(
        description="distinct products and services, no name twice"
    )
    brands: Annotated[list[Short], union(limit=30), Field(max_length=15)]


class Reputation(Part):
    """What others say of it."""

    certifications: Annotated[
        list[Award], union(key=certification_key, anchor="name", limit=30), Field(max_length=12)
    ]
    awards: Annotated[list[Award], union(anchor="name", limit=30), Field(max_length=10)]
    partners: Annotated[list[Line], union(key=company_key, valid=is_company_name, limit=40), Field(max_length=15)]
    clients: Annotated[list[Line], union(key=company_key, valid=is_company_name, limit=60), Field(max_length=20)]


class Contact(Part):
    """How to reach it."""

    website: Annotated[Line | None, WEBSITE]
    emails: Annotated[
        list[Line], union(key=email_key, valid=is_email, limit=12, captions=forms.emails), Field(max_length=8)
    ]
    phones: Annotated[
        list[Short],
        union(key=phone_key, alike=same_phone, valid=is_phone, limit=12, captions=forms.phones),
        Field(max_length=8),
    ] = Field(description="as written, with area code")
    social_urls: Annotated[list[Line], union(key=url_key, valid=is_url, limit=12), Field(max_length=8)]
    addresses: Annotated[
        list[Address],
        union(key=address_key, anchor=("street", "postal_code", "city"), whole=True, limit=20),
        Field(max_length=10),
    ]


class CompanyProfile(Part):
    """Facts about ONE company stated in the text. null or [] for what it does not say."""

    about: Annotated[Literal["company", "no_company"], subject(none="no_company")] = Field(
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
