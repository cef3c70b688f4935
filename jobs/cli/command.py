"""The command line: parser, exit codes, error messages, and the options that several commands share.

A backfill's YAML has the same options, as keys.
"""

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, Self

from pydantic import Field
from rich.console import Console
from rich.text import Text

from actors.servers.endpoint import endpoint_url
from extraction.base import Frozen
from extraction.config.settings import Engine, Settings, load_settings, parse_override
from extraction.errors import OperatorError, ProfilesError
from jobs.stages import ray_cluster
from jobs.stages.engines import Fleet, choose_engine, fleet

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
DONE, FAILED, MISTAKE, OVER_BUDGET = 0, 1, 2, 3
LOG = Console(stderr=True, highlight=False, soft_wrap=True)


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaint is one line."""

    def __init__(self, prog: str, description: str | None = None, **more: Any) -> None:
        kept = argparse.RawDescriptionHelpFormatter
        super().__init__(prog, description=description, formatter_class=kept, **more)

    def error(self, message: str) -> NoReturn:
        """Raise OperatorError instead of printing the usage."""
        raise OperatorError(f"{message} (--help lists the flags)")


def enter(run: Callable[[argparse.Namespace], int], flags: Parser, argv: Sequence[str] | None) -> int:
    """Run what the command line asks for, and say in one line what went wrong; the exit code."""
    try:
        return run(flags.parse_args(argv))
    except ProfilesError as error:
        return complain(error)


def complain(error: BaseException) -> int:
    """Say what went wrong, and return the exit code. Raises again what is no error of this project's."""
    ours = ray_cluster.reason(error)
    if ours is None:
        raise error
    LOG.print(Text.assemble(("error: ", "bold red"), str(ours).replace("\n", "\n  ")))
    return MISTAKE if isinstance(ours, OperatorError) else FAILED


DEFAULTS: dict[Engine, str] = {"sglang": "extract.yaml", "endpoint": "extract.yaml", "llamacpp": "demo.yaml"}


class Options(Frozen):
    """How to extract: the engine, its settings file, and what is laid over the settings, some by
    names of their own, all by dotted keys under `set`."""

    engine: Literal["auto", "sglang", "llamacpp", "endpoint"] = "auto"
    config: Path | None = None
    endpoint: str | None = None
    model: str | None = None
    profile: Annotated[str | None, Field(alias="schema")] = None
    scenario: str | None = None
    laid: Annotated[Mapping[str, Any], Field(alias="set")] = {}

    @classmethod
    def of(cls, flags: argparse.Namespace) -> Self:
        """As the command line has them. Raises OperatorError for a --set that is no KEY=VALUE."""
        names = ("engine", "config", "endpoint", "model", "schema", "scenario")
        told = {name: getattr(flags, name) for name in names}
        return cls.model_validate({**told, "set": dict(map(parse_override, flags.set))})

    def resolve(self) -> tuple[Settings, Fleet]:
        """The settings and the servers that they come to. Raises OperatorError for what can't be run."""
        engine, settings = self.settings()
        return settings, fleet(engine, settings)

    def settings(self) -> tuple[Engine, Settings]:
        """The engine and the settings. Raises OperatorError for a value that is none."""
        engine = choose_engine("endpoint" if self.endpoint and self.engine == "auto" else self.engine)
        settings = load_settings(self.config or CONFIGS / DEFAULTS[engine], self._overrides(engine))
        return engine, _with_url(settings) if engine == "endpoint" else settings

    def _overrides(self, engine: Engine) -> dict[str, Any]:
        """What is laid over the settings file, the environment's share included."""
        said = {
            "model.name": self.model or (os.environ.get("VLLM_MODEL") if engine == "endpoint" else None),
            "profile": self.profile,
            "endpoint.url": self.endpoint if engine == "endpoint" else None,
            "sglang.scenario": self.scenario,
        }
        return {key: value for key, value in said.items() if value} | dict(self.laid)


def _with_url(settings: Settings) -> Settings:
    """The settings with the endpoint's URL as actors ask it, from the environment where they have none: actors may
    run where that is another."""
    endpoint = settings.endpoint.model_copy(update={"url": endpoint_url(settings.endpoint.url)})
    return settings.model_copy(update={"endpoint": endpoint})


def add_options(parser: argparse.ArgumentParser) -> None:
    """The flags that `Options` are made of."""
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="settings (default: configs/demo.yaml for llamacpp, else configs/extract.yaml)",
    )
    parser.add_argument(
        "--engine",
        choices=["auto", "sglang", "llamacpp", "endpoint"],
        default="auto",
        help="auto: sglang where there is a GPU, else llamacpp",
    )
    parser.add_argument("--endpoint", metavar="URL", help="an OpenAI-compatible server, for --engine endpoint")
    parser.add_argument("--model", metavar="NAME", help="the model's name, or the path of its files")
    parser.add_argument("--schema", metavar="MODULE:MODEL", help="the pydantic model of a profile")
    parser.add_argument("--scenario", metavar="NAME", help="row of configs/scenarios.yaml, or auto")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="lay a value over the settings, such as limits.max_chunk_tokens=8000",
    )


def add_places(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """The flags for where documents come from and where profiles go."""
    parser.add_argument(
        "--input",
        action="append",
        required=required,
        metavar="PATH",
        help="Parquet file, folder, glob or URL; may be given again",
    )
    parser.add_argument(
        "--output",
        required=required,
        metavar="DIR",
        help="folder or URL for the profiles, the manifest and the ledger",
    )
    parser.add_argument(
        "--ledger",
        metavar="DIR",
        help="folder or URL of a ledger that several outputs share (default: work/ledger in the output)",
    )


def mapped(text: str) -> tuple[str, str]:
    field, equals, key = text.partition("=")
    if not (field and equals and key):
        raise OperatorError(f"--map {text}: FIELD=KEY is expected, such as city=location")
    return field, key
