"""What of transformers ray.data.llm imports before it makes an engine."""

from typing import Any


class AutoConfig:
    """The configuration of no model."""

    @staticmethod
    def from_pretrained(*_: Any, **__: Any) -> Any:
        """There is none."""
        raise OSError("no model")
