"""The metadata of a GGUF file is read whole, or refused in one line."""

import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.servers.llamacpp import local_model
from extraction.chunking import tokenizers
from extraction.errors import OperatorError

FORMS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}


def text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def written(kind: int, value: Any) -> bytes:
    """A value as a GGUF file holds it; a list is given as (kind of its items, items)."""
    if kind == tokenizers.STRING:
        return text(value)
    if kind == tokenizers.ARRAY:
        inner, items = value
        return struct.pack("<IQ", inner, len(items)) + b"".join(written(inner, item) for item in items)
    return struct.pack(FORMS[kind], value)


def file_of(entries: dict[str, tuple[int, Any]]) -> bytes:
    body = b"".join(text(key) + struct.pack("<I", kind) + written(kind, v) for key, (kind, v) in entries.items())
    return b"GGUF" + struct.pack("<IQQ", 3, 0, len(entries)) + body


ENTRIES: dict[str, tuple[int, Any]] = {
    "general.architecture": (tokenizers.STRING, "gemma3"),
    "words": (tokenizers.ARRAY, (tokenizers.STRING, ["a", "▁caf\u00e9", ""])),
    "scores": (tokenizers.ARRAY, (6, [0.5, -1.0])),
    "nested": (tokenizers.ARRAY, (tokenizers.ARRAY, [(4, [1, 2]), (4, [])])),
    **{f"number {kind}": (kind, 1) for kind in FORMS},
    "tokenizer.chat_template": (tokenizers.STRING, "{{ messages }}"),
}
WHOLE = file_of(ENTRIES)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gguf") / "model.gguf"


def test_every_kind_of_value_is_read(path: Path) -> None:
    path.write_bytes(WHOLE + b"tensors")
    found = tokenizers.metadata(path)
    assert list(found) == list(ENTRIES)
    assert found["words"] == ["a", "▁café", ""]
    assert found["scores"] == (0.5, -1.0)
    assert found["nested"] == [(1, 2), ()]
    assert {found[f"number {kind}"] for kind in FORMS} == {1}


@given(st.integers(0, len(WHOLE) - 1))
def test_a_file_that_is_cut_anywhere_is_refused(path: Path, length: int) -> None:
    path.write_bytes(WHOLE[:length])
    with pytest.raises(OperatorError, match=r"model\.gguf is (not a GGUF file|cut short or damaged)"):
        tokenizers.metadata(path)


DAMAGED = st.builds(WHOLE[24:].replace, st.sampled_from([b"\1", b"a", b"\0"]), st.binary(max_size=2))


@given(st.binary(max_size=80) | DAMAGED)
def test_damage_is_refused_or_read_but_never_raises_anything_else(path: Path, body: bytes) -> None:
    path.write_bytes(WHOLE[:24] + body)
    with suppress(OperatorError):
        assert isinstance(tokenizers.metadata(path), dict)


def test_other_files_and_missing_ones_are_refused(path: Path) -> None:
    path.write_bytes(b"PK\3\4 a zip archive, say")
    with pytest.raises(OperatorError, match="is not a GGUF file: give --model a"):
        tokenizers.metadata(path)
    with pytest.raises(OperatorError, match="none can't be read: No such file"):
        tokenizers.metadata(path.parent / "none")
    with pytest.raises(OperatorError, match="can't be read: Is a directory"):
        tokenizers.metadata(path.parent)


@pytest.mark.parametrize(
    ("name", "architecture", "words"),
    [("gemma-3-270m", "gemma3", 262_144), ("smollm2-135m-instruct", "llama", 49_152)],
)
def test_the_packaged_models_tell_what_they_are(name: str, architecture: str, words: int) -> None:
    found = tokenizers.metadata(local_model(name).path)
    assert found["general.architecture"] == architecture
    assert len(found["tokenizer.ggml.tokens"]) == len(found["tokenizer.ggml.token_type"]) == words
