"""llama.cpp on CPU: the engine of laptops and tests."""

import json
import os
import sys
import tempfile
import uuid
from pathlib import Path
from typing import Any

from actors.servers import llamacpp_server
from actors.servers.process import ServerProcess, free_port, new_key
from actors.servers.server import Address, wait_until_healthy
from actors.servers.weights import local_model
from extraction.config.settings import Settings


class LlamaCppServer:
    """Owns one llama.cpp process with `llamacpp.slots` slots."""

    def __init__(self, settings: Settings, logs: Path) -> None:
        self.settings = settings
        self.model = local_model(settings.model.name, settings.model.template)
        self.log = logs / f"llamacpp-{uuid.uuid4().hex[:8]}.log"
        self.name = f"llamacpp-{self.model.name}"
        self._process: ServerProcess | None = None

    def start(self) -> Address:
        """Start the process and wait until it answers."""
        self.stop()
        port, key = free_port(), new_key()
        descriptor, config = tempfile.mkstemp(prefix="llamacpp-", suffix=".json")  # mode 0600
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(self._config(port, key), file)
        self._process = ServerProcess([sys.executable, llamacpp_server.__file__, config], log=self.log)
        self._process.start()
        root = f"http://127.0.0.1:{port}"
        wait_until_healthy(self._process, f"{root}/health", timeout_s=self.settings.servers.start_timeout_s)
        return Address(f"{root}/v1", key, self.model.name, self.settings.llamacpp.slots, facts=self._facts())

    def _facts(self) -> dict[str, Any]:
        """The model's file, and what the server works with."""
        told = ("slots", "threads", "context_length")
        flags = {key: value for key, value in self._config(0, "").items() if key in told}
        return {"model": self.model.name, "sha256": self.model.sha256, "flags": flags}

    def _config(self, port: int, key: str) -> dict[str, object]:
        own = self.settings.llamacpp
        return {
            "model_path": str(self.model.path),
            "model": self.model.name,
            "template": self.model.template,
            "port": port,
            "api_key": key,
            "slots": own.slots,
            "context_length": self.settings.limits.context_length,
            "threads": own.threads or os.cpu_count() or 1,
        }

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.alive

    def stop(self) -> None:
        """End the process."""
        if self._process:
            self._process.stop()
            self._process = None
