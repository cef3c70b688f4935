"""The llama.cpp server process.

    python llamacpp_server.py CONFIG.json

Run by path as a child of the actor. The configuration comes in a file that only its owner can read,
because it holds the API key, and is deleted once read.
"""

import json
import signal
import sys
from pathlib import Path
from threading import Event
from typing import Any


def main() -> None:
    """Serve until told to stop."""
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
    # With the sliding window's cache cut to its window, a shared prefix would be computed again and again.
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
