"""Small models from packages: put together once, checked, and a model's template found."""

import hashlib
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from actors.servers import llamacpp
from actors.servers.llamacpp import PACKAGED, Weights, local_model
from extraction.errors import OperatorError
from tests.actors.models import gguf_file

PARTS = (b"one " * 1000, b"two", b"three")
WHOLE = Weights(
    parts=tuple((f"packaged_part{n}", f"data/model.part{n}") for n in range(len(PARTS))),
    sha256=hashlib.sha256(b"".join(PARTS)).hexdigest(),
    file_name="model.gguf",
    template="packaged template",
)


@pytest.fixture
def prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment of its own that has the packages of WHOLE installed, as the model `whole`."""
    for (module, file), content in zip(WHOLE.parts, PARTS, strict=True):
        path = tmp_path / "packages" / module / file
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        (tmp_path / "packages" / module / "__init__.py").write_text("raise ImportError('never imported')")
    monkeypatch.syspath_prepend(str(tmp_path / "packages"))
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setitem(PACKAGED, "whole", WHOLE)
    return tmp_path / "share" / "company-profiles"


def test_a_packaged_model_is_put_together_from_its_parts(prefix: Path) -> None:
    model = local_model("whole")
    assert model.path == prefix / "model.gguf"
    assert model.path.read_bytes() == b"".join(PARTS)
    assert (model.name, model.sha256, model.template) == ("whole", WHOLE.sha256, "packaged template")
    assert not list(prefix.glob("*.partial"))


def test_it_is_put_together_once(prefix: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        models = list(pool.map(local_model, ["whole"] * 8))
    written = models[0].path.stat()
    assert local_model("WHOLE").path.stat().st_mtime_ns == written.st_mtime_ns
    assert {model.path for model in models} == {prefix / "model.gguf"}


def test_what_a_killed_process_left_is_written_anew(prefix: Path) -> None:
    prefix.mkdir(parents=True)
    (prefix / "model.partial").write_bytes(b"half of it" * 10_000)
    assert local_model("whole").path.read_bytes() == b"".join(PARTS)


def test_another_content_is_refused_and_not_kept(prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PACKAGED, "whole", replace(WHOLE, sha256="0" * 64))
    with pytest.raises(OperatorError, match=r"model.gguf: sha256 is \w{64}, expected 0{64}: install anew"):
        local_model("whole")
    assert [path.suffix for path in prefix.iterdir()] == [".lock"]


def test_a_missing_package_is_told_with_the_remedy(prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = replace(WHOLE, parts=(*WHOLE.parts, ("packaged_part_missing", "x")))
    monkeypatch.setitem(PACKAGED, "whole", missing)
    with pytest.raises(OperatorError, match=r"packaged_part_missing is not installed: .* `cpu` extra"):
        local_model("whole")
    assert not (prefix / "model.gguf").exists()


def test_an_environment_that_cannot_be_written_is_left_alone(
    prefix: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "nowhere"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert local_model("whole").path == tmp_path / "home" / ".cache" / "company-profiles" / "model.gguf"


def test_an_unknown_name_is_told_with_the_known_ones() -> None:
    with pytest.raises(OperatorError, match=r"gemma-3-270m, smollm2-135m-instruct, or takes the path of a \.gguf"):
        local_model("gpt-7")


def test_a_file_is_taken_with_its_own_template(tmp_path: Path) -> None:
    path = gguf_file(tmp_path / "own.gguf", general__name="own", tokenizer__chat_template="its template")
    model = local_model(str(path))
    assert (model.name, model.path, model.template) == (str(path), path, "its template")
    assert model.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_template_in_the_settings_goes_before_all_others(prefix: Path, tmp_path: Path) -> None:
    path = gguf_file(tmp_path / "own.gguf", tokenizer__chat_template="its template")
    assert local_model(str(path), "mine").template == "mine"
    assert local_model("whole", "mine").template == "mine"


def test_a_file_without_a_template_wants_one(tmp_path: Path) -> None:
    path = gguf_file(tmp_path / "own.gguf", general__name="own")
    with pytest.raises(OperatorError, match=r"holds no chat template: set model\.template"):
        local_model(str(path))
    assert local_model(str(path), "mine").template == "mine"


def test_a_file_that_is_no_model_is_the_operators_mistake(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="there is no such file"):
        local_model(str(tmp_path / "none.gguf"))
    (tmp_path / "text.gguf").write_text("a text of more than a few bytes")
    with pytest.raises(OperatorError, match="is not a GGUF file"):
        local_model(str(tmp_path / "text.gguf"))


def test_the_home_folder_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    path = gguf_file(tmp_path / "own.gguf", tokenizer__chat_template="its template")
    assert local_model("~/own.gguf").path == path


@pytest.mark.parametrize("name", PACKAGED)
def test_the_real_models_are_there(name: str) -> None:
    model = local_model(name)
    assert model.path.stat().st_size > 80_000_000
    assert "messages" in model.template
    assert llamacpp._sha256(model.path) == model.sha256
