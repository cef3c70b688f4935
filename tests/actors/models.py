"""Models of tests: real ones behind llama.cpp, and GGUF files that are none."""

import json
import struct
import urllib.request
from pathlib import Path
from typing import Any

from actors.servers.llamacpp import LlamaCppServer
from actors.servers.supervisor import DIRECT, ServerAddress
from extraction.config.settings import Settings
from tests.actors.asking import settings

SMOLLM, GEMMA = "smollm2-135m-instruct", "gemma-3-270m"


def gguf_file(path: Path, **metadata: str) -> Path:
    """A GGUF file without tensors; `a__b` in a name stands for `a.b`."""
    pairs = b"".join(
        struct.pack("<Q", len(key)) + key + struct.pack("<IQ", 8, len(value)) + value
        for key, value in ((k.replace("__", ".").encode(), v.encode()) for k, v in metadata.items())
    )
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, len(metadata)) + pairs)
    return path


def model_settings(name: str) -> Settings:
    """Settings for a small model that shares its cores with other tests."""
    return settings(
        model={"name": name},
        llamacpp={"slots": 2, "threads": 1},
        limits={"context_length": 1024, "max_output_tokens": 300},
        requests={"deadline_s": 60, "attempts": 2},
        servers={"start_timeout_s": 60},
    )


def running_llamacpp(name: str, logs: Path) -> LlamaCppServer:
    """A real server, not started yet."""
    return LlamaCppServer(model_settings(name), logs)


def post(address: ServerAddress, path: str, body: dict[str, Any]) -> Any:
    """What a server answers to a JSON body, on a path of its own API."""
    url = address.url.removesuffix("/v1") + path
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {address.api_key}"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with DIRECT.open(request, timeout=60) as response:
        return json.loads(response.read())
