"""Connects to a server that somebody else runs, at any OpenAI-compatible URL."""

import os
from urllib.parse import urlsplit

from pydantic import SecretStr

from actors.servers.supervisor import ServerAddress
from extraction.config.settings import Settings
from extraction.errors import OperatorError

NO_KEY = "none"  # servers without authentication still want a header


class EndpointServer:
    """An address from the settings, its key from the driver or the environment; it owns no process."""

    name = "endpoint"

    def __init__(self, settings: Settings, key: SecretStr | None = None) -> None:
        self.settings, self.key = settings, key

    def start(self) -> ServerAddress:
        """Return the address. Whether it answers shows in the canary request that follows."""
        key = self.key.get_secret_value() if self.key else endpoint_key() or NO_KEY
        endpoint = self.settings.endpoint
        url = endpoint_url(endpoint.url)
        return ServerAddress(url, key, self.settings.model.name, endpoint.concurrency, facts={"url": url})

    @property
    def alive(self) -> bool:
        """Always true: its owner restarts it, and requests are retried meanwhile."""
        return True

    def stop(self) -> None:
        """Do nothing: there is no process to end."""


def endpoint_key() -> str | None:
    """The key in OPENAI_API_KEY. Raises OperatorError for one that no HTTP header can hold."""
    key = os.environ.get("OPENAI_API_KEY")
    odd = next((at for at, sign in enumerate(key or "", 1) if not "!" <= sign <= "~"), None)
    if key and odd:
        raise OperatorError(
            f"OPENAI_API_KEY can't be sent: its character {odd} of {len(key)} is white space or no ASCII"
        )
    return key


def url_in_environment() -> str | None:
    """The URL of OPENAI_BASE_URL, or of VLLM_ENDPOINT."""
    return os.environ.get("OPENAI_BASE_URL") or os.environ.get("VLLM_ENDPOINT")


def endpoint_url(configured: str | None) -> str:
    """The base URL: the configured one, OPENAI_BASE_URL or VLLM_ENDPOINT; `/v1` is added to a URL without a path.

    Raises OperatorError for an invalid URL, and for one with credentials, which logs and files would show.
    """
    url = configured or url_in_environment()
    if not url:
        sources = "--endpoint URL, endpoint.url in its settings, OPENAI_BASE_URL or VLLM_ENDPOINT"
        raise OperatorError(f"--engine endpoint needs {sources}")
    url = url.strip().rstrip("/").removesuffix("/chat/completions")
    if _has_credentials(url):
        raise OperatorError(
            "the endpoint's URL holds a user, a password or a query, which would be written down: "
            "give its host and path alone, and the key as OPENAI_API_KEY"
        )
    if not _is_http(url):
        raise OperatorError(
            f"--endpoint {url if url.isprintable() else ascii(url)}: a URL such as http://host:8000/v1 is expected"
        )
    return url if urlsplit(url).path else f"{url}/v1"


def _is_http(url: str) -> bool:
    """Whether a URL names a host and, if any, a valid port, in visible characters."""
    try:
        parts = urlsplit(url)
        named = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return named and url.isprintable() and " " not in url


def _has_credentials(url: str) -> bool:
    """Whether a URL may hold credentials: in a user, a query or a fragment; in an invalid URL, before any @."""
    return "?" in url or "#" in url or "@" in (urlsplit(url).netloc if _is_http(url) else url)
