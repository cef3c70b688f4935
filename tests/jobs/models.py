"""A profile model of somebody else, as a user would bring it."""

from typing import Annotated

from pydantic import BaseModel, Field

from extraction.grounding.text_folding import text_key
from extraction.schema.merge_rules import union, vote


class Place(BaseModel):
    """Where a workshop is."""

    town: Annotated[str | None, vote(key=text_key)]
    since: int | None


class Workshop(BaseModel):
    """A workshop, nothing like a company profile."""

    master: str | None = Field(description="who runs it")
    place: Place
    goods: Annotated[list[str], union(limit=3), Field(max_length=3)]
