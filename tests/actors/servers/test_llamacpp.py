"""llama.cpp with real small models: it answers, keeps its key to itself, and counts tokens as the plan does."""

import asyncio
import socket
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

from actors.http import Connection
from actors.retrying_client import Attempt
from actors.servers.llamacpp import LlamaCppServer
from actors.servers.supervisor import Address, Server
from extraction.chunking.tokenizers import load_counter, render
from extraction.errors import OperatorError, RunError
from extraction.schema.company import ShortProfile
from tests.actors.asking import SCHEMA, TEXT, ask, question
from tests.actors.models import GEMMA, SMOLLM, gguf_file, llamacpp, model_settings, post

pytestmark = pytest.mark.model

TRICKY = [
    "",
    " ",
    "   leading, doubled  and trailing   ",
    "\n\n\t\ttabs\r\nand\n\n\nlines \n",
    "1987 12,345.67 €1.000.000 ½ 10⁶ ١٢٣",
    "Größe, São Paulo, Ελλάδα, Москва, İstanbul, ǅ",
    "e\u0301 a\u030a\u0323 \u1e9b\u0323",
    "株式会社アルダー＆フィンチ は家具を作る。",
    "שלום عالم \u200f\u200bzero\u200dwidth\ufeff",
    "👩‍👩‍👧‍👦 🇧🇷 🧪🏽 \U0010ffff",
    "don't DON'T we'll I'M it’s (a)[b]{c} <d/> --- ... ***",
    "https://www.alder-finch.example/a?b=c&d=%20#e",
    '{"name": "Acme", "products": ["a", "b"]}',
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "\x00\x01\x7f\x85 control",
    "<b>bold</b> <unused7> [multimodal] ▁ Ġ <0x0A>",
]


@dataclass
class Running:
    """A started server."""

    server: LlamaCppServer
    address: Address
    processes: list[psutil.Process]


@pytest.fixture(scope="module", params=[SMOLLM, GEMMA])
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A real server of each model, one after the other."""
    server = llamacpp(request.param, tmp_path_factory.mktemp("logs"))
    try:
        address = server.start()
        assert server._process and server._process.pid
        tied = psutil.Process(server._process.pid)
        yield Running(server, address, [tied, *tied.children(recursive=True)])
    finally:
        server.stop()


def counts(address: Address, text: str) -> int:
    body = {"content": text, "add_special": False}
    return len(post(address, "/tokenize", body)["tokens"])


@pytest.mark.parametrize("running", [SMOLLM], indirect=True)
def test_it_answers_with_a_profile(running: Running) -> None:
    (answer,) = ask(running.address, question(max_tokens=300), asked=running.server.settings)
    assert (answer.fault, answer.message) == (None, "")
    assert ShortProfile.model_validate_json(answer.replies[0])
    assert answer.prompt_tokens > 10 < answer.completion_tokens


@pytest.mark.parametrize("running", [SMOLLM], indirect=True)
def test_a_wrong_key_is_refused(running: Running) -> None:
    with pytest.raises(OperatorError, match="refused the key"):
        ask(replace(running.address, api_key="wrong"), question(), asked=running.server.settings)


def test_the_key_is_neither_in_arguments_nor_in_the_log(running: Running) -> None:
    key = running.address.api_key
    assert len(running.processes) == 2
    for process in running.processes:
        assert key not in " ".join(Path(f"/proc/{process.pid}/cmdline").read_text().split("\0"))
        assert key not in Path(f"/proc/{process.pid}/environ").read_text()
    log = running.server.log
    assert key not in log.read_text(errors="replace")
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_the_file_with_the_key_is_gone(running: Running) -> None:
    config = running.processes[-1].cmdline()[-1]
    assert config.endswith(".json") and not Path(config).exists()


def test_it_listens_on_loopback_alone(running: Running) -> None:
    listening = [c for c in running.processes[-1].net_connections() if c.status == psutil.CONN_LISTEN]
    assert {c.laddr.ip for c in listening} == {"127.0.0.1"}


@pytest.mark.parametrize("text", TRICKY)
def test_tokens_of_odd_texts_are_counted_exactly(running: Running, text: str) -> None:
    counter = load_counter(str(running.server.model.path))
    assert counter.count(text) == counts(running.address, text)


def test_tokens_of_real_texts_are_counted_exactly(running: Running, data: Path) -> None:
    counter = load_counter(str(running.server.model.path))
    texts = pq.read_table(data / "company_summaries.parquet", columns=["text"])["text"].to_pylist()[:20]
    assert [counter.count(text) for text in texts] == [counts(running.address, text) for text in texts]


def test_a_whole_prompt_is_counted_up_to_its_first_token(running: Running) -> None:
    asked, server = running.server.settings, running.server
    messages = asked.prompt.messages(ShortProfile, TEXT)
    attempt = Attempt(temperature=0, frequency_penalty=0, presence_penalty=0, max_tokens=1, seed=0)

    async def send() -> int:
        connection = Connection(running.address, SCHEMA, 60)
        try:
            return int((await connection.send(messages, attempt))["usage"]["prompt_tokens"])
        finally:
            await connection.close()

    counted = load_counter(str(server.model.path)).count(render(server.model.template, messages))
    assert asyncio.run(send()) - counted in (0, 1)  # one for BOS, where the model has one


def test_it_stops_and_starts_anew_elsewhere(tmp_path: Path) -> None:
    server: Server = llamacpp(SMOLLM, tmp_path)
    assert not server.alive
    try:
        first = server.start()
        second = server.start()
        assert server.alive and first.url != second.url and first.api_key != second.api_key
    finally:
        server.stop()
    assert not server.alive
    for address in (first, second):
        port = int(address.url.removesuffix("/v1").rsplit(":", 1)[1])
        with socket.create_server(("127.0.0.1", port)):
            pass


def test_a_file_that_cannot_be_loaded_is_told_with_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    empty = gguf_file(tmp_path / "empty.gguf", general__architecture="llama", tokenizer__chat_template="x")
    server = LlamaCppServer(model_settings(str(empty)), tmp_path)
    with pytest.raises(RunError, match=r"(?s)ended with status \S+ before it was ready. Its log ends:\n.*model"):
        server.start()
    assert not server.alive
    assert not list(tmp_path.glob("*.json"))
