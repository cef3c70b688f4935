"""Engines as the driver sees them: what it must know to plan and to ask Ray for actors."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import cast

from actors.endpoint import EndpointServer
from actors.llamacpp import LlamaCppServer
from actors.server import Server
from actors.weights import local_model
from extraction.errors import OperatorError
from extraction.settings import Engine, Settings
from jobs import cluster


@dataclass(frozen=True)
class Fleet:
    """How a run's servers are made, how many requests each takes, and what its prompts are counted with.

    `tokenizer` is a path that every node can read, None where counts are estimates. `bounded` says that
    the grammar takes bounds on strings cheaply. `limit` is the most requests at a time of any one server.
    """

    engine: Engine
    make_server: Callable[[Path], Server]
    bounded: bool
    tokenizer: str | None
    template: str | None
    weights: str | None
    limit: int
    gpus: int
    version: str


def choose(wanted: str) -> Engine:
    """The engine to use: as asked, or sglang where there is a GPU and llamacpp where there is none."""
    if wanted == "auto":
        return "sglang" if cluster.gpus() else "llamacpp"
    return cast(Engine, wanted)


def fleet(engine: Engine, settings: Settings) -> Fleet:
    """The servers of an engine. Raises OperatorError for settings that it can't run with."""
    if engine == "llamacpp":
        model = local_model(settings.model.name, settings.model.template)
        return Fleet(
            engine,
            partial(LlamaCppServer, settings),
            bounded=settings.wire != "light",
            tokenizer=settings.model.tokenizer or str(model.path),
            template=model.template,
            weights=model.sha256,
            limit=settings.llamacpp.slots,
            gpus=0,
            version=f"xllamacpp {_version('xllamacpp')}",
        )
    if engine == "endpoint":
        return Fleet(
            engine,
            partial(_endpoint, settings),
            bounded=settings.wire == "bounded",
            tokenizer=settings.model.tokenizer,
            template=settings.model.template,
            weights=None,
            limit=settings.endpoint.concurrency,
            gpus=0,
            version="endpoint",
        )
    raise OperatorError("--engine sglang: not here yet")


def _endpoint(settings: Settings, _: Path) -> Server:
    return EndpointServer(settings)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
