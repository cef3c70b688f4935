"""The command line: what it parses, its help, and where a run's endpoint comes from."""

import errno
import re
import signal
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from rich.table import Table

from extraction.errors import OperatorError
from jobs import main
from jobs.cli.command import LOG, Options, command, enter, parse_words
from jobs.cli.terminal_output import console

FILE = """
prompt: {instructions: Read.}
model: {name: a-model}
endpoint: {url: "http://from-file:8000"}
"""


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_BASE_URL", "VLLM_ENDPOINT", "VLLM_MODEL"):
        monkeypatch.delenv(name, raising=False)


def url(**told: Any) -> str | None:
    return Options.model_validate({"engine": "endpoint", "model": "m", **told}).settings()[1].endpoint.url


def test_the_settings_file_names_the_endpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(FILE, encoding="utf-8")
    assert url(config=file) == "http://from-file:8000/v1"
    assert url(config=file, endpoint="http://said/v1") == "http://said/v1"
    assert url(config=file, set={"endpoint.url": "http://laid/v1"}) == "http://laid/v1"


@pytest.mark.parametrize("variable", ["OPENAI_BASE_URL", "VLLM_ENDPOINT"])
def test_a_flag_is_stronger_than_the_environment_and_that_than_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(FILE, encoding="utf-8")
    monkeypatch.setenv(variable, "http://from-environment/v1")
    monkeypatch.setenv("VLLM_MODEL", "from-environment")

    def told(**more: Any) -> tuple[str, str | None]:
        settings = Options.model_validate({"engine": "endpoint", "config": file, **more}).settings()[1]
        return settings.model.name, settings.endpoint.url

    flags = {"model": "said", "endpoint": "http://said/v1"}
    laid = {"model.name": "laid", "endpoint.url": "http://laid/v1"}
    assert told() == ("from-environment", "http://from-environment/v1")
    assert told(**flags) == ("said", "http://said/v1")
    assert told(**flags, set=laid) == ("laid", "http://laid/v1")


def test_the_environment_names_it_where_nothing_else_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_ENDPOINT", "http://from-environment:8000")
    assert url() == "http://from-environment:8000/v1"  # written down: actors may have another environment


def test_no_endpoint_is_told_before_anything_starts() -> None:
    with pytest.raises(OperatorError, match="--endpoint URL"):
        url()


RUN = ["--input", "a", "--output", "b"]


def parsed(command: str, *words: str) -> dict[str, Any]:
    """The parameters of a command that a command line gives."""
    call = parse_words(main.COMMANDS[command].app, words)
    assert isinstance(call, partial)
    return call.keywords


def test_a_flag_given_again_adds_to_a_list_and_replaces_a_value() -> None:
    flags = parsed(
        "extract", *RUN, "--input", "c", "--output", "d", "--set", "a=1", "--set", "b=[x]", "--set", "a=2"
    )
    assert (flags["input"], flags["output"]) == (["a", "c"], "d")
    assert Options.of(flags["engine"]).overrides == {"a": 2, "b": ["x"]}
    assert parsed("benchmark", "planning", "--tokens", "1", "2")["tokens"] == [1, 2]


def test_values_are_as_they_are_given() -> None:
    flags = parsed("extract", "--input=-x", "--output=null", "--limit", "01", "--model", '["m"]', "--schema", "m:M")
    assert (flags["input"], flags["output"], flags["limit"]) == (["-x"], "null", 1)
    options = Options.of(flags["engine"])
    assert (options.model, options.profile) == ('["m"]', "m:M")


@pytest.mark.parametrize(
    ("told", "idle"),
    [
        ({"scenario": "nope"}, "--scenario nope does nothing with the engine endpoint"),
        ({"set": {"sglang.scenario": "nope"}}, "--set sglang.scenario does nothing with the engine endpoint"),
        ({"set": {"llamacpp.slots": 2}}, "--set llamacpp.slots does nothing"),
        (
            {"engine": "llamacpp", "model": None, "endpoint": "http://x"},
            "--endpoint http://x does nothing with the",
        ),
        ({"set": {"endpoint.concurrency": 2}}, ""),
    ],
)
def test_what_does_nothing_with_the_engine_is_told(
    told: dict[str, Any], idle: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Options.model_validate({"engine": "endpoint", "endpoint": "http://a", "model": "m", **told}).settings()
    said = capsys.readouterr().err
    assert idle in said and said.count("\n") == bool(idle)


def test_a_schema_of_the_users_is_asked_for_without_the_examples_of_another() -> None:
    """Whatever the engine: the examples of the settings for llama.cpp are profiles of their own model."""
    own = {"engine": "llamacpp", "schema": "tests.extraction.samples:Vineyard"}
    prompt = Options.model_validate(own).settings()[1].prompt
    assert not prompt.examples and "{fields}" in prompt.instructions
    replaced = Options.model_validate({**own, "set": {"prompt": {"instructions": "Read."}}}).settings()[1].prompt
    assert replaced.instructions == "Read."
    shipped = {"engine": "llamacpp", "schema": "extraction.schema.company:ShortProfile"}
    assert Options.model_validate(shipped).settings()[1].prompt.examples


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["extract", "--input", "a"], "--output"),
        (["extract", *RUN, "--inputs", "c"], "Unknown option: --inputs"),
        (["extract", *RUN, "--no-plan"], "Unknown option: --no-plan"),
        (["extract", *RUN, "word"], "['word']"),
        (["extract", *RUN, "--limit", "1.5"], "invalid literal for int"),
        (["extract", *RUN, "--engine", "vllm"], 'Invalid value "vllm" for --engine'),
        (["extract", *RUN, "--set", "a"], "--set a: KEY=VALUE is expected"),
        (["evaluate", "--profiles", "o", "--labels", "l", "--map", "a"], "--map a: FIELD=KEY is expected"),
        (["demo"], "--output"),
        (["submit", "--address", "a", "--name", "b", "--"], "COMMAND"),
        (["benchmark"], "a command is expected"),
        (["benchmark", "serving", "--input", "a", "--servers"], "--servers"),
        (["speed"], 'Unknown command "speed"'),
        ([], "a command is expected"),
    ],
)
def test_a_mistake_is_told_in_a_line(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(words) == 2
    out, error = capsys.readouterr()
    assert message in error and error.count("\n") == 1 and not out


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        (KeyboardInterrupt(), "interrupted"),
        (SystemExit(signal.SIGTERM), "interrupted"),  # as Ray's handler ends a driver
        (OSError(errno.EIO, "no disk"), "error: the storage failed: [Errno 5] no disk"),
    ],
)
def test_an_end_from_outside_is_told_in_a_line(
    raised: BaseException, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    app = command("it.py", "It ends.")

    @app.default
    def run() -> int:
        raise raised

    assert enter(app, []) == 1
    error = capsys.readouterr().err
    assert error.startswith(message) and error.count("\n") == 1


@pytest.mark.parametrize("name", main.COMMANDS)
def test_help_has_examples_and_groups_and_there_is_a_version(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    module = main.COMMANDS[name]
    assert main.main([name, "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"Usage: company-profiles {name} ")
    assert module.main(["-h"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"Usage: {name}.py ")
    assert str(module.__doc__) in text and f"    python jobs/{name}.py " in text
    assert "─ Flags ─" in text or name == "benchmark"
    assert module.main(["--version"]) == 0
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", capsys.readouterr().out)


def test_a_shell_completes_commands_flags_and_values(tmp_path: Path) -> None:
    script = (
        main.app.generate_completion(shell="bash")
        + """
try() {
    COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _company_profiles; echo "${COMPREPLY[*]}"
}
try company-profiles ex
try company-profiles extract --l
try company-profiles extract --engine s
try company-profiles benchmark pl
"""
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["extract", "--ledger --limit --log-format", "sglang", "planning"]


def test_words_in_brackets_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    """A kind of documents, a path or a setting is no markup."""
    table = Table("kind")
    table.add_row(words := "[press] [/red] :heart:")
    console().print(table)
    LOG.print(words)
    shown = capsys.readouterr()
    assert words in shown.out and words in shown.err


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ("show out --limit 0", "--limit. Must be > 0"),
        ("benchmark resume --rows 0", "--rows. Must be > 0"),
        ("extract --input a --output b --plan --chunks-per-s -1", "--chunks-per-s. Must be > 0"),
        ("demo --output /proc/none/demo.parquet", "--output /proc/none/demo.parquet can't be written"),
        ("benchmark resume --chunks 9 --json /proc/none/it.json", "--json /proc/none/it.json can't be written"),
    ],
)
def test_numbers_and_files_that_can_not_be(argv: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(argv.split()) == 2
    assert said in capsys.readouterr().err
