"""What a run costs: GPUs by the hour that servers hold them, endpoints by the token."""

from typing import Annotated

from pydantic import Field

from extraction.config.frozen import Frozen

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
