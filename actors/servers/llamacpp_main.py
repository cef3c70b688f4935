"""Runs a llama.cpp server in this process.

    python llamacpp_main.py CONFIG.json

The actor runs it by path as a child process. The configuration is a file that only its owner can read, because it
holds the API key; it is deleted once read.
"""

import json
import signal
import sys
from pathlib import Path
from threading import Event
from typing import Any


def main() -> None:
    """Serve until SIGTERM."""
    path = Path(sys.argv[1])
    config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    path.unlink()

    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = config["model_path"]
    params.model_alias = {config["model"]}
    params.chat_template = config["template"]
    params.use_jinja = True
    params.hostnames = ["127.0.0.1"]
    params.port = config["port"]
    params.api_keys = [config["api_key"]]
    params.n_parallel = config["slots"]
    params.n_ctx = config["slots"] * config["context_length"]
    # A cache cut to the sliding window would lose the shared prefix, which then is computed for each request.
    params.swa_full = True
    params.cpuparams.n_threads = config["threads"]
    params.ui = False

    stopped = Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    server = xllamacpp.Server(params)
    stopped.wait()
    del server


if __name__ == "__main__":
    main()
