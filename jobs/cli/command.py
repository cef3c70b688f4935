"""The command line: how it is parsed, error messages, and the options that several commands share.

A backfill's YAML has the same options, as keys.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Self

from cyclopts import App, CycloptsError, Parameter
from cyclopts.help.formatters import DefaultFormatter
from pydantic import Field
from rich.console import Console, ConsoleOptions
from rich.text import Text

from actors.servers.endpoint import endpoint_url, url_in_environment
from extraction.config.settings import Engine, Settings, load_settings, read_yaml
from extraction.errors import OperatorError, one_line
from extraction.settings_base import Frozen
from jobs.cli.exit_codes import DONE, FAILED, exit_code_of
from jobs.cli.flags import FLAGS, HELP, EngineChoice, EngineFlags
from jobs.stages import ray_cluster
from jobs.stages.engines import Fleet, choose_engine, fleet, version_of

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
HELP_FLAGS = {"--help", "-h"}
# Texts are printed as they are: they hold words of documents, paths and settings, in which brackets are no markup.
PlainConsole = partial(Console, highlight=False, markup=False, emoji=False)
LOG = PlainConsole(stderr=True, soft_wrap=True)


class HelpPage(DefaultFormatter):
    """A help page whose description is a docstring with its lines as they are."""

    def __init__(self, docstring: str) -> None:
        super().__init__()
        self.docstring = docstring

    def render_description(self, console: Console, options: ConsoleOptions, description: object) -> None:
        """Print the docstring; the library would wrap its examples."""
        console.print(self.docstring, markup=False, highlight=False, soft_wrap=True)


def command(name: str, docstring: str | None) -> App:
    """An app that parses as all commands here do; a flag that is given again counts as given last."""
    text = docstring or ""
    app = App(
        name,
        help=text,
        help_formatter=HelpPage(text),
        version=partial(version_of, "company-profiles"),
        group_parameters=FLAGS,
        default_parameter=Parameter(negative=(), allow_repeating=True, show_default=False),
    )
    app["--help"].group = app["--version"].group = HELP
    return app


def parse_words(app: App, words: Sequence[str]) -> Callable[[], int | None]:
    """The call that a command line asks for; a parameter that is not parsed is given the words themselves.

    Raises OperatorError for what can't be parsed.
    """
    try:
        run, bound, unparsed = app.parse_args(words, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        raise OperatorError(f"{one_line(str(error))} (--help lists the flags)") from None
    if run == app.help_print and not HELP_FLAGS.intersection(words):
        raise OperatorError("a command is expected (--help lists them)")
    return partial(run, *bound.args, **bound.kwargs, **dict.fromkeys(unparsed, words))


def enter(app: App, argv: Sequence[str] | None = None) -> int:
    """Run what the command line asks for, and say in one line what went wrong; the exit code."""
    try:
        return parse_words(app, sys.argv[1:] if argv is None else argv)() or DONE
    except (KeyboardInterrupt, SystemExit) as asked:
        if isinstance(asked, SystemExit) and asked.code != signal.SIGTERM:
            raise
        LOG.print("interrupted: what was answered is in the ledger, the same command goes on from there")
        return FAILED
    except Exception as error:
        return complain(error)


def complain(error: BaseException) -> int:
    """Say what went wrong, and return the exit code. Raises again what is no error of this project's."""
    ours = ray_cluster.reason(error)
    if ours is None:
        raise error
    LOG.print(Text.assemble(("error: ", "bold red"), str(ours).replace("\n", "\n  ")))
    return exit_code_of(ours)


ANY_PROFILE = "prompts/company.yaml"  # without examples, which would be of one profile
DEFAULTS: dict[Engine, str] = {"sglang": "extract.yaml", "endpoint": "extract.yaml", "llamacpp": "demo.yaml"}


class Options(Frozen):
    """How to extract: the engine, its settings file, and what overrides these settings, some by names
    of their own, all by dotted keys under `set`."""

    engine: EngineChoice = "auto"
    config: Path | None = None
    endpoint: str | None = None
    model: str | None = None
    profile: Annotated[str | None, Field(alias="schema")] = None
    scenario: str | None = None
    overrides: Annotated[Mapping[str, Any], Field(alias="set")] = {}

    @classmethod
    def of(cls, flags: EngineFlags) -> Self:
        """As the command line has them."""
        return cls.model_validate(vars(flags))

    def resolve(self) -> tuple[Settings, Fleet]:
        """The settings and the servers that they come to. Raises OperatorError for what can't be run."""
        engine, settings = self.settings()
        return settings, fleet(engine, settings)

    def settings(self) -> tuple[Engine, Settings]:
        """The engine and the settings. Raises OperatorError for a value that is none."""
        engine = choose_engine("endpoint" if self.endpoint and self.engine == "auto" else self.engine)
        for flag in self._idle(engine):
            LOG.print(f"note     {flag} does nothing with the engine {engine}")
        path, overrides = self.config or CONFIGS / DEFAULTS[engine], self._overrides(engine)
        if self.profile and not self.config and read_yaml(path)["profile"] != self.profile:
            overrides = {"prompt": ANY_PROFILE, **overrides}
        settings = load_settings(path, overrides)
        return engine, _with_url(settings) if engine == "endpoint" else settings

    def _idle(self, engine: Engine) -> Iterator[str]:
        """The flags and keys that are given and are another engine's."""
        if self.endpoint and engine != "endpoint":
            yield f"--endpoint {self.endpoint}"
        if self.scenario and engine != "sglang":
            yield f"--scenario {self.scenario}"
        others = set(DEFAULTS) - {engine}
        yield from (f"--set {key}" for key in self.overrides if key.partition(".")[0] in others)

    def _overrides(self, engine: Engine) -> dict[str, Any]:
        """What overrides the settings file, by flags and by the environment."""
        values = {"model.name": self.model, "profile": self.profile, "sglang.scenario": self.scenario}
        if engine == "endpoint":
            values["model.name"] = self.model or os.environ.get("VLLM_MODEL")
            values["endpoint.url"] = self.endpoint or url_in_environment()
        return {key: value for key, value in values.items() if value} | dict(self.overrides)


def _with_url(settings: Settings) -> Settings:
    """The settings with the endpoint's URL as actors ask it, from the environment where they have none: actors may
    run where that is another."""
    endpoint = settings.endpoint.model_copy(update={"url": endpoint_url(settings.endpoint.url)})
    return settings.model_copy(update={"endpoint": endpoint})
