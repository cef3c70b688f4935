"""Amounts of money as texts write them: US$ 4.2 million, R$ 1,3 bilhões, 12,5 Mio. EUR."""

from functools import lru_cache
from typing import Any

from price_parser import Price

from extraction.grounding.keys import text_key


def amount_key(value: Any) -> str:
    """Equal for amounts that have the same currency, number and words beside them, such as `million`."""
    return _amount_key(str(value))


@lru_cache(maxsize=65_536)
def _amount_key(value: str) -> str:
    price = Price.fromstring(value)
    if price.amount is None or not price.amount_text:
        return text_key(value)
    words = text_key(value.replace(price.amount_text, " ").replace(price.currency or "", " ", 1))
    return " ".join(filter(None, ((price.currency or "").casefold(), f"{price.amount.normalize():f}", words)))
