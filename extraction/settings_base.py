"""The base of all data that is parsed once: frozen models that refuse unknown keys, and bounded numbers."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0)]


class Frozen(BaseModel):
    """Base of all settings: parsed once, never changed, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Amount = Annotated[float, Field(ge=0)]
