"""What names an answer in the ledger: the fingerprint of a run, and the id of a chunk.

The fingerprint is a digest of everything that changes an answer, and of nothing else. A chunk's id is a digest of
the fingerprint and of the message that is sent.
"""

import contextlib
import hashlib
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from extraction.config.settings import Settings
from extraction.prompting.response_schema import judging_schema

PARSER_VERSION = 4  # raise it when the same reply would be judged otherwise


def fingerprint(
    settings: Settings,
    model: type[BaseModel],
    schema: dict[str, Any],
    *,
    served: str,
    revision: str | None = None,
    weights: str | None = None,
    template: str | None = None,
    flags: Mapping[str, Any] | None = None,
) -> str:
    """64 hex digits from the model, prompt, wire schema, profile model, sampling and parser version.

    `served` is the name that servers know the model by, `revision` its commit in the model hub, `weights` a digest
    of local files, which makes the name one of many for the same; `template` is the chat template, `flags` those of
    the server that change answers. Paths, ports, GPU types and concurrency stay out: an answer found on one machine
    holds on another. So do limits of chunks, whose content is in a chunk's id, and `requests.attempts`, how often a
    chunk is halved and `limits.context_length`: they decide whether a chunk is answered, not what it is asked.
    """
    identity = {
        "model": None if weights else served,
        "revision": revision,
        "weights": weights,
        "template": template,
        "messages": settings.prompt.messages(model, ""),
        "schema": schema,
        "judged_by": judging_schema(model),
        "sampling": settings.sampling.model_dump(),
        "max_output_tokens": settings.limits.max_output_tokens,
        "flags": dict(flags or {}),
        "parser": PARSER_VERSION,
    }
    canonical = json.dumps(identity, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("utf-8", errors="surrogatepass")).hexdigest()


KINDS_OF_WEIGHTS = (".safetensors", ".bin", ".pt", ".gguf")  # the first kind that is there is what servers load
MODEL_FILES = (".json", ".jinja", ".model", ".tiktoken", ".py")  # configuration, tokenizer, template, code
VOCABULARIES = ("merges.txt", "vocab.txt")


def weights_digest(folder: Path) -> str:
    """A digest of a model's folder: of the content of all files that a server loads, and of their names."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    kinds = {path.suffix for path in files}
    loaded = (*MODEL_FILES, *[kind for kind in KINDS_OF_WEIGHTS if kind in kinds][:1])
    files = [path for path in files if path.suffix in loaded or path.name in VOCABULARIES]
    with ThreadPoolExecutor() as threads:
        lines = [
            f"{path.name}:{digest}\n" for path, digest in zip(files, threads.map(file_digest, files), strict=True)
        ]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """The SHA-256 of a file's content. It is remembered by what changes with the content (inode, size, times), so
    that gigabytes are read once and not in each run."""
    stat = path.stat()
    known_by = (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
    memory = Path("~/.cache/company-profiles/digests", "-".join(map(str, known_by)))
    with contextlib.suppress(OSError, RuntimeError):  # no home, or nothing remembered there
        if len(digest := memory.expanduser().read_text()) == 2 * hashlib.sha256().digest_size:
            return digest
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    with contextlib.suppress(OSError, RuntimeError):
        memory = memory.expanduser()
        memory.parent.mkdir(parents=True, exist_ok=True)
        memory.write_text(digest)
    return digest


def chunk_id(fingerprint: str, content: str) -> str:
    """The name of a question: the same fingerprint and content are the same question, wherever asked."""
    return hashlib.sha256(f"{fingerprint}\n{content}".encode("utf-8", errors="surrogatepass")).hexdigest()
