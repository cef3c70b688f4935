"""Profile models of somebody else, as users would bring them."""

import datetime
from typing import Annotated, Literal

from pydantic import AliasChoices, AliasPath, BaseModel, ConfigDict, Field, computed_field
from pydantic.alias_generators import to_camel

from extraction.grounding.text_folding import text_key
from extraction.schema.merge_rules import latest, union, vote


class Place(BaseModel):
    """Where a workshop is."""

    town: Annotated[str | None, vote(key=text_key)]
    since: int | None


class Workshop(BaseModel):
    """A workshop, nothing like a company profile."""

    master: str | None = Field(description="who runs it")
    place: Place
    goods: Annotated[list[str], union(limit=3), Field(max_length=3)]


class Filing(BaseModel):
    """A user's model with what a text does not say letter by letter, and names of two sorts."""

    model_config = ConfigDict(strict=True, alias_generator=to_camel)

    company: Annotated[str | None, vote(identifies=True)]
    filed: datetime.date
    until: Annotated[datetime.date | None, latest()] = Field(validation_alias=AliasChoices("u", AliasPath("v", 0)))
    standing: Literal["good", "bad"] | None = Field(serialization_alias="state")
    listed: bool | None
    form: Annotated[str, Field(pattern="^10-[KQ]$")]

    @computed_field
    def open(self) -> bool:
        """Whether it has no end."""
        return self.until is None
