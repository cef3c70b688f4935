"""The test request, which a server has to answer before it gets a document, and which shows how to ask it."""

import re
from typing import Any

from actors.http import NEWER_MAX_TOKENS, Dialect
from actors.results import Request, Result
from actors.retrying_client import Client
from actors.servers.supervisor import ServerAddress, log_line
from extraction.config.settings import Settings
from extraction.errors import Fault, OperatorError

CANARY = "Alder & Finch Ltd makes oak furniture in Galway, Ireland. It was founded in 1998."
CANARY_TOKENS = 1024
# Other refusals are of the model, the key, the address. Some gateways pass a refusal on with HTTP 500.
OF_PARAMETERS = re.compile(rf"\(HTTP (?:400|422)\)|{NEWER_MAX_TOKENS}")
SERVER_REMEDIES = {  # of a server that fails at the test request
    Fault.TRUNCATED: "--set limits.max_output_tokens=... allows longer answers; an SGLang server of your own may "
    "need its flag --constrained-json-disable-any-whitespace",
    Fault.REPETITION: "--set sampling.frequency_penalty=0.2 may help, or the flag --grammar-backend llguidance of "
    "an SGLang server of your own, which bounds strings",
    Fault.INVALID: "is the server's grammar backend xgrammar or llguidance (SGLang's flag --grammar-backend), and "
    "sampling.temperature 0? A simpler schema may help; SGLang's --log-level debug shows what its grammar says",
    Fault.REJECTED: "does it take response_format json_schema? SGLang from 0.5 and vLLM do; its log says why",
    Fault.TOO_LONG: "its context is too small: SGLang's flag is --context-length, vLLM's --max-model-len; "
    "limits.max_chunk_tokens makes chunks shorter",
    Fault.DEADLINE: "it is overloaded or hangs: send it fewer requests at a time, or start it again",
    Fault.UNAVAILABLE: "is it up, and is this its URL? Its log says why it does not answer",
}


async def canary_result(client: Client) -> Result:
    """The result of the test request. Raises OperatorError where the server refuses it: it would refuse all."""
    result = await _send(client)
    if result.fault in (Fault.REJECTED, Fault.TOO_LONG):
        raise OperatorError(f"{client.address.url} refuses a test request too: {result.message}")
    return result


async def canary_client(
    name: str, address: ServerAddress, settings: Settings, schema: dict[str, Any]
) -> tuple[Client, Result]:
    """A client that asks a server as it wants to be asked, and the test request's result. The caller closes it.

    A server that is started by its first request is waited for. Raises OperatorError where the server refuses the
    request in every dialect.
    """
    dialect: Dialect | None = Dialect(logprobs=settings.confidence.logprobs)
    message = remedy = ""
    while dialect:
        client = Client(address, settings, schema, dialect=dialect, starting=True)
        try:
            result = await _send(client)
        except BaseException:
            await client.close()
            raise
        message, refused = result.message, result.fault in (Fault.REJECTED, Fault.TOO_LONG)
        of_parameters = result.fault is not Fault.TOO_LONG and bool(OF_PARAMETERS.search(message))
        other = dialect.adapted(message) if of_parameters else None
        if not refused and not other:
            if str(dialect):
                log_line(f"{name}: asked with {dialect}")
            return client, result
        await client.close()
        dialect, remedy = other, ". Does it take response_format json_schema?" if of_parameters else ""
    raise OperatorError(f"{name} at {address.url} refuses a test request: {message}{remedy}")


async def _send(client: Client) -> Result:
    max_tokens = min(CANARY_TOKENS, client.settings.limits.max_output_tokens)
    return await client.extract(Request("canary", CANARY, 0, max_tokens))
