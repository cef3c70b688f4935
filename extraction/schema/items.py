"""The parts of a profile: what they have in common, and the items of its lists.

Fields are in the order in which the model writes them. Descriptions are read by the model, lengths are checked
on its reply (and bound it while it writes, where the grammar can).
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from extraction.grounding.keys import text_key
from extraction.schema.rules import vote

Short = Annotated[str, StringConstraints(max_length=60)]
Line = Annotated[str, StringConstraints(max_length=160)]
Year = Annotated[int, Field(ge=1000, le=2100)]
Headcount = Annotated[int, Field(ge=0, le=100_000_000)]


def _without_titles(schema: dict[str, Any]) -> None:
    """Titles repeat the names of fields: a seventh of the schema."""
    for node in (schema, *schema.get("properties", {}).values()):
        node.pop("title", None)


class Part(BaseModel):
    """A piece of a profile: nothing beside its own fields, and every field given."""

    model_config = ConfigDict(extra="forbid", frozen=True, json_schema_extra=_without_titles)


class Identifier(Part):
    """A number under which a company is registered or listed."""

    scheme: Literal["CNPJ", "EIN", "CIK", "LEI", "VAT", "ISIN", "DUNS", "COMPANY_NUMBER", "TICKER", "OTHER"]
    value: Short
    issuer: Short | None = Field(description="country, exchange or registry, when stated")


class IndustryCode(Part):
    """An entry of an official classification of economic activities."""

    system: Literal["CNAE", "NAICS", "SIC", "NACE", "ISIC", "GICS"]
    code: Short


class Person(Part):
    """Somebody who leads or founded the company."""

    name: Line
    role: Line | None = Field(description="title as written: CEO, founder, diretor")


class Revenue(Part):
    """What it took in within a year."""

    amount: Short = Field(description="with currency, as written")
    year: Year | None


class Offering(Part):
    """A product or service."""

    name: Line = Field(description="as written")
    kind: Literal["product", "service", "platform", "brand"]
    category: Annotated[Short | None, vote(verbatim=False)] = Field(
        description="a few words, such as hydraulic pumps"
    )


class Award(Part):
    """A certificate or prize."""

    name: Line
    year: Year | None


class Address(Part):
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


class Quote(Part):
    """The words from which a field was taken."""

    field: Literal["legal_name", "founded_year", "status", "parent_company", "sector", "employees", "revenue"]
    quote: Line = Field(description="copied from the text, exactly")
