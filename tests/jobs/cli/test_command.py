"""Where a run's endpoint comes from: the command line, else its settings file, else the environment."""

from pathlib import Path
from typing import Any

import pytest

from extraction.errors import OperatorError
from jobs.cli.command import Options

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
    monkeypatch.setenv("OPENAI_BASE_URL", "http://from-environment/v1")
    assert url(config=file) == "http://from-file:8000/v1"


def test_the_environment_names_it_where_nothing_else_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_ENDPOINT", "http://from-environment:8000")
    assert url() == "http://from-environment:8000/v1"  # written down: actors may have another environment


def test_no_endpoint_is_told_before_anything_starts() -> None:
    with pytest.raises(OperatorError, match="--endpoint URL"):
        url()
