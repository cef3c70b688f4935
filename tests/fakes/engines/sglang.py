"""SGLang's engine where there is no GPU, for processes that have this folder on their path: a fake server in a
process of its own. As SGLang's does, it takes the process that made it along when its scheduler dies."""

import asyncio
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import aiohttp

from tests.fakes.ports import port_of, reserve


class Engine:
    """An engine on a fake server, which is started with the flags in FAKE_FLAGS."""

    def __init__(self, **_: Any) -> None:
        self.reserved = reserve()
        port = str(port_of(self.reserved))
        self.url = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "tests.fakes.server", "--reserved", "--port", port]
        self.server = subprocess.Popen([*command, *shlex.split(os.environ["FAKE_FLAGS"])])

    async def async_generate(
        self, prompt: str, input_ids: Any, sampling_params: dict[str, Any], stream: bool
    ) -> AsyncIterator[dict[str, Any]]:
        """The text of one request, as the only part of a stream."""
        return self._stream(prompt)

    async def _stream(self, prompt: str) -> AsyncIterator[dict[str, Any]]:
        body = {"messages": [{"role": "user", "content": prompt}]}
        async with aiohttp.ClientSession() as session:
            while True:
                try:
                    async with session.post(f"{self.url}/v1/chat/completions", json=body) as reply:
                        found = await reply.json()
                        break
                except aiohttp.ClientError:
                    if self.server.poll() is not None:
                        os.kill(os.getpid(), signal.SIGKILL)
                    await asyncio.sleep(0.1)  # it starts
        choice, usage = found["choices"][0], found["usage"]
        told = {"finish_reason": {"type": "stop"}, "prompt_tokens": usage["prompt_tokens"]}
        yield {
            "text": choice["message"]["content"],
            "meta_info": {**told, "completion_tokens": usage["completion_tokens"]},
        }

    def shutdown(self) -> None:
        """End the server."""
        self.server.kill()
