"""Where a model's tokenizer and chat template are: in its folder, or in the cache of the model hub."""

import json
from dataclasses import dataclass
from pathlib import Path

import huggingface_hub
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RemoteEntryNotFoundError,
)

from extraction.config.settings import Model
from extraction.errors import OperatorError, RunError

TOKENIZER, TOKENIZER_CONFIG = "tokenizer.json", "tokenizer_config.json"


@dataclass(frozen=True)
class ModelFiles:
    """`folder` where the model is local; `tokenizer` None where none was found, so that counts are estimates."""

    folder: Path | None
    tokenizer: str | None
    template: str | None


def find_files(model: Model, *, download: bool) -> ModelFiles:
    """Find them; `download` lets the hub be asked for what its cache lacks (a few MB, not the weights).

    Raises RunError when the hub can't be asked: to go on with estimates would make other chunks.
    """
    folder = Path(model.name).expanduser()
    if folder.is_dir():
        if not (folder / TOKENIZER).is_file() and not model.tokenizer:
            raise OperatorError(f"--model {model.name}: there is no {TOKENIZER} in that folder")
        found: dict[str, Path | None] = {name: folder / name for name in (TOKENIZER, TOKENIZER_CONFIG)}
        local: Path | None = folder.resolve()
    elif model.name.startswith((".", "/", "~")):
        raise OperatorError(f"--model {model.name}: there is no such folder")
    else:
        found = {name: _from_hub(model, name, download) for name in (TOKENIZER, TOKENIZER_CONFIG)}
        local = None
    tokenizer = model.tokenizer or (str(found[TOKENIZER]) if found[TOKENIZER] else None)
    return ModelFiles(local, tokenizer, model.template or _template(found[TOKENIZER_CONFIG]))


def _from_hub(model: Model, name: str, download: bool) -> Path | None:
    try:
        return Path(
            huggingface_hub.hf_hub_download(
                model.name, name, revision=model.revision, local_files_only=not download, etag_timeout=5
            )
        )
    except (RemoteEntryNotFoundError, HFValidationError):
        return None
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        if not download:
            return None
        said = " ".join(str(error).split())[:160]
        raise RunError(
            f"{name} of {model.name} can't be had from the model hub ({said}): give --model a folder, or set "
            "model.tokenizer"
        ) from None


def _template(config: Path | None) -> str | None:
    """The chat template of a tokenizer_config.json; None leaves ChatML, which is Qwen's."""
    if config is None or not config.is_file():
        return None
    template = json.loads(config.read_text(encoding="utf-8")).get("chat_template")
    return template if isinstance(template, str) else None
