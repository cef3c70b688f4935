"""The README and the other pages as data: blocks, spans of code, links, and whether each holds.

Commands stand in blocks fenced as `sh`; what they print, diagrams and the like in blocks fenced as `text`;
settings in blocks fenced as `yaml`, and Python in blocks fenced as `python`. Everything else that looks like
code is refused, so that nothing goes unchecked.
"""

import importlib.util
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import click
import yaml
from ray.scripts.scripts import cli as ray_commands

from extraction.config.settings import load_settings, parse_override
from extraction.errors import OperatorError
from jobs import main
from jobs.backfills.config import load_backfill
from jobs.cli.command import parse_words
from tests.conftest import ROOT

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"(?<!`)`([^`\n]+(?:\n[^`\n]+)?)`(?!`)")
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")
ROOMS = ("actors/", "cluster/", "configs/", "extraction/", "jobs/", "tests/")
ASSIGNED = re.compile(r"[A-Z_]+=")


class Wrong(Exception):
    """Something in the README does not hold."""


@dataclass(frozen=True)
class Script:
    """A Python script of the project, as a command line calls it."""

    name: str
    arguments: tuple[str, ...]

    @property
    def module(self) -> str:
        """Its module's name."""
        return "jobs." + Path(self.name).stem


def blocks(text: str) -> Iterator[tuple[str, str]]:
    """Language and content of each block. Raises Wrong for one that is not fenced, or of another language."""
    rest = FENCE.sub("", text)
    for line in rest.splitlines():
        if re.match(r" {4}\s*\S|```|\t", line):
            raise Wrong(f"a block that is not fenced, so nobody knows what it is: {line.strip()!r}")
    for language, content in FENCE.findall(text):
        if language not in ("sh", "text", "yaml", "python"):
            raise Wrong(f"a block fenced as {language!r}: sh, text, yaml or python is expected")
        yield language, content


def commands(block: str, known: dict[str, str]) -> Iterator[list[str]]:
    """The commands of a block as words: lines joined, comments gone, variables put in that it or a block before
    sets."""
    for line in block.replace("\\\n", " ").splitlines():
        for name, value in known.items():
            line = re.sub(rf"\$\{{?{name}\b\}}?", value, line)
        words = shlex.split(line, comments=True)
        while words and ASSIGNED.match(words[0]):
            name, _, value = words.pop(0).partition("=")
            known[name] = value
        if words:
            yield words


def check_command(words: Sequence[str]) -> list[Script]:
    """Check one command, and return the scripts of the project that it calls. Raises Wrong for what does not hold,
    and for a program that is not known here."""
    program, *rest = words
    if Path(program).name.startswith("python"):
        return check_module(rest[1:]) if rest[:1] == ["-m"] else check_script(rest)
    if program.startswith("jobs/"):
        return check_script(words)
    if Path(program).name in OTHERS:
        check_paths(rest)
        return []
    check = PROGRAMS.get(Path(program).name)
    if check is None:
        raise Wrong(f"a command that no test knows how to check: {shlex.join(words)}")
    return check(list(rest))


def check_script(words: Sequence[str]) -> list[Script]:
    """`jobs/x.py ...`: the script is there, its parser takes the words, its files and settings are there."""
    name, *arguments = words
    script = Script(name, tuple(arguments))
    if not (ROOT / name).is_file():
        raise Wrong(f"there is no {name}")
    check_words(importlib.import_module(script.module), arguments, name)
    return [script]


def check_program(words: Sequence[str]) -> list[Script]:
    """`company-profiles COMMAND ...`: its parser takes the words, its files and settings are there."""
    check_words(main, words, "company-profiles")
    return []


def check_words(module: ModuleType, words: Sequence[str], name: str) -> None:
    """The app of a module takes the words, their files and settings are there."""
    if not hasattr(module, "app"):
        raise Wrong(f"{name} has no app, so its flags can't be checked")
    try:
        parse_words(module.app, words)
    except OperatorError as error:
        raise Wrong(f"{name} {shlex.join(words)}: {error}") from None
    check_paths(words)
    for flag, given in pairwise(words):
        if flag == "--set":
            check_setting(given, backfill=name.endswith("backfill.py"))


def check_module(words: Sequence[str]) -> list[Script]:
    """`python -m tests.x ...`: the module is there."""
    if importlib.util.find_spec(words[0]) is None:
        raise Wrong(f"there is no module {words[0]}")
    return []


def check_paths(words: Sequence[str]) -> None:
    """Words that name a file of the project name one that is there."""
    for word in words:
        path = word.split("=", 1)[-1]
        ours = path.startswith(ROOMS) or re.fullmatch(r"requirements[\w-]*\.(lock|txt)", path)
        if ours and not any(sign in path for sign in "*<>…") and not (ROOT / path).exists():
            raise Wrong(f"there is no {path}")


def check_setting(given: str, *, backfill: bool = False) -> None:
    """A `key=value` is one that settings take, with some configuration, or a backfill's declaration does."""
    try:
        key, value = parse_override(given)
        if backfill:
            load_backfill(ROOT / "configs" / "backfill.yaml", {key: value})
        else:
            load_settings(ROOT / "configs" / "extract.yaml", {key: value})
    except OperatorError as error:
        raise Wrong(f"--set {given}: {error}") from None


def check_make(words: Sequence[str]) -> list[Script]:
    """`make TARGET VARIABLE=value`: make knows the target, and what it would run holds too."""
    ran = subprocess.run(["make", "-n", *words], cwd=ROOT, capture_output=True, text=True)
    if ran.returncode:
        raise Wrong(f"make {shlex.join(words)}: {ran.stderr.strip()}")
    recipe = (line for line in ran.stdout.replace("\\\n", " ").splitlines() if "jobs/" in line)
    return [script for line in recipe for script in check_command(shlex.split(line))]


def check_ray(words: Sequence[str]) -> list[Script]:
    """`ray VERB ... -- command`: Ray's own parser takes the words, and the command after `--` holds."""
    words, inner = (words[: words.index("--")], words[words.index("--") + 1 :]) if "--" in words else (words, [])
    command: click.Command = ray_commands
    left = list(words)
    while isinstance(command, click.Group) and left and left[0] in command.commands:
        command = command.commands[left.pop(0)]
    if isinstance(command, click.Group):
        raise Wrong(f"ray {shlex.join(words)}: there is no such command")
    try:
        command.make_context("ray", [*left, *(["--", *inner] if inner else [])], resilient_parsing=False)
    except click.ClickException as error:
        raise Wrong(f"ray {shlex.join(words)}: {error.format_message()}") from None
    check_paths(left)
    return check_command(inner) if inner else []


PROGRAMS: dict[str, Callable[[list[str]], list[Script]]] = {
    "company-profiles": check_program,
    "make": check_make,
    "ray": check_ray,
}
OTHERS = {"kubectl", "uv", "pip", "docker", "git", "cd", "export"}  # of which the files are checked


def check(text: str, folder: Path = ROOT) -> list[Script]:
    """Check all of a page, whose links are relative to a folder, and return the scripts that its blocks call.
    Raises Wrong."""
    found: list[Script] = []
    variables: dict[str, str] = {}
    for language, content in blocks(text):
        if language == "sh":
            found += [script for words in commands(content, variables) for script in check_command(words)]
        elif language == "yaml":
            yaml.safe_load(content)
        elif language == "python":
            compile(content, "README.md", "exec")
    prose = FENCE.sub("", text)
    for span in SPAN.findall(prose):
        words = [word for word in shlex.split(span.replace("'", "")) if word not in ("...", "…")]
        if len(words) > 1 and (words[0] in ("make", "company-profiles") or words[0].startswith("jobs/")):
            check_command(words)
        check_paths(words)
    for path in LINK.findall(prose):
        if not (folder / path).exists():
            raise Wrong(f"a link to {path}, which is not there")
    return found
