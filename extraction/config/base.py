"""What configuration is made of: frozen models, prices, and URLs without their credentials."""

from typing import Annotated
from urllib.parse import urlsplit, urlunsplit

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0)]


class Frozen(BaseModel):
    """Base of all settings: parsed once, never changed, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


SIGNED = ("http", "https")  # a query may hold a signature; elsewhere a question mark is a wildcard


def without_credentials(url: str) -> str:
    """A URL without user and password, and over HTTP without query and fragment; a path as it is."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(not a URL)"
    if not parts.scheme or not parts.netloc:
        return url
    host = parts.netloc.rpartition("@")[2]
    if parts.scheme in SIGNED:
        return urlunsplit((parts.scheme, host, parts.path, "", ""))
    return urlunsplit(parts._replace(netloc=host))


Amount = Annotated[float, Field(ge=0)]
MILLION = 1_000_000


class Price(Frozen):
    """Prices in one currency; what is not priced costs nothing."""

    gpu_hour: Amount = 0
    million_prompt_tokens: Amount = 0
    million_output_tokens: Amount = 0
    currency: str = "USD"

    @property
    def known(self) -> bool:
        """Whether anything has a price."""
        return bool(self.gpu_hour or self.million_prompt_tokens or self.million_output_tokens)

    def of(self, *, gpu_hours: float, prompt_tokens: int, output_tokens: int) -> float:
        """The cost of some GPU-hours and tokens."""
        tokens = prompt_tokens * self.million_prompt_tokens + output_tokens * self.million_output_tokens
        return gpu_hours * self.gpu_hour + tokens / MILLION
