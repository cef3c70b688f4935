"""llama.cpp with real small models replies, hides its key, and counts tokens as the plan does."""

import asyncio
import hashlib
import json
import socket
import stat
import struct
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest

from actors.http import Connection, SamplingParams
from actors.servers import llamacpp
from actors.servers.llamacpp import PACKAGED, LlamaCppServer, PackagedWeights, local_model
from actors.servers.supervisor import DIRECT, Server, ServerAddress
from extraction.chunking.chunk_identity import file_digest
from extraction.chunking.tokenizers import load_counter, render_chat
from extraction.config.settings import Settings
from extraction.errors import OperatorError, RunError
from extraction.schema.company import ShortProfile
from tests.actors.clients import SCHEMA, TEXT, extract, make_request, make_settings

SMOLLM, GEMMA = "smollm2-135m-instruct", "gemma-3-270m"
PARTS = (b"one " * 1000, b"two", b"three")
WHOLE = PackagedWeights(
    parts=tuple((f"packaged_part{n}", f"data/model.part{n}") for n in range(len(PARTS))),
    sha256=hashlib.sha256(b"".join(PARTS)).hexdigest(),
    file_name="model.gguf",
    template="packaged template",
)


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
    return make_settings(
        model={"name": name},
        llamacpp={"slots": 2, "threads": 1},
        limits={"context_length": 1024, "max_output_tokens": 300},
        requests={"deadline_s": 60, "attempts": 2},
        servers={"start_timeout_s": 60},
    )


def post(address: ServerAddress, path: str, body: dict[str, Any]) -> Any:
    """The reply to a JSON body on a path of the server's own API."""
    url = address.url.removesuffix("/v1") + path
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {address.api_key}"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with DIRECT.open(request, timeout=60) as response:
        return json.loads(response.read())


@pytest.fixture
def prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment of its own that has the packages of WHOLE installed, as the model `whole`."""
    for (module, file), content in zip(WHOLE.parts, PARTS, strict=True):
        path = tmp_path / "packages" / module / file
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        (tmp_path / "packages" / module / "__init__.py").write_text("raise ImportError('never imported')")
    monkeypatch.syspath_prepend(str(tmp_path / "packages"))
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setitem(PACKAGED, "whole", WHOLE)
    return tmp_path / "share" / "company-profiles"


def test_a_packaged_model_is_assembled_from_its_parts(prefix: Path) -> None:
    model = local_model("whole")
    assert model.path == prefix / "model.gguf"
    assert model.path.read_bytes() == b"".join(PARTS)
    assert (model.name, model.sha256, model.template) == ("whole", WHOLE.sha256, "packaged template")
    assert not list(prefix.glob("*.partial"))


def test_it_is_assembled_once(prefix: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        models = list(pool.map(local_model, ["whole"] * 8))
    written = models[0].path.stat()
    assert local_model("WHOLE").path.stat().st_mtime_ns == written.st_mtime_ns
    assert {model.path for model in models} == {prefix / "model.gguf"}


def test_what_a_killed_process_left_is_written_anew(prefix: Path) -> None:
    prefix.mkdir(parents=True)
    (prefix / "model.partial").write_bytes(b"half of it" * 10_000)
    assert local_model("whole").path.read_bytes() == b"".join(PARTS)


def test_another_content_is_refused_and_not_kept(prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PACKAGED, "whole", replace(WHOLE, sha256="0" * 64))
    with pytest.raises(OperatorError, match=r"model.gguf: sha256 is \w{64}, expected 0{64}: install anew"):
        local_model("whole")
    assert [path.suffix for path in prefix.iterdir()] == [".lock"]


def test_a_missing_package_is_an_error_with_its_remedy(prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = replace(WHOLE, parts=(*WHOLE.parts, ("packaged_part_missing", "x")))
    monkeypatch.setitem(PACKAGED, "whole", missing)
    with pytest.raises(OperatorError, match=r"packaged_part_missing is not installed: .* `cpu` extra"):
        local_model("whole")
    assert not (prefix / "model.gguf").exists()


def test_an_environment_that_cannot_be_written_is_left_alone(
    prefix: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "nowhere"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert local_model("whole").path == tmp_path / "home" / ".cache" / "company-profiles" / "model.gguf"


def test_an_unknown_name_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(OperatorError, match=r"gemma-3-270m, smollm2-135m-instruct, or takes the path of a \.gguf"):
        local_model("gpt-7")


def test_a_file_is_used_with_its_own_template(tmp_path: Path) -> None:
    path = gguf_file(tmp_path / "own.gguf", general__name="own", tokenizer__chat_template="its template")
    model = local_model(str(path))
    assert (model.name, model.path, model.template) == (str(path), path, "its template")
    assert model.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_template_in_the_settings_takes_precedence(prefix: Path, tmp_path: Path) -> None:
    path = gguf_file(tmp_path / "own.gguf", tokenizer__chat_template="its template")
    assert local_model(str(path), "mine").template == "mine"
    assert local_model("whole", "mine").template == "mine"


def test_a_file_without_a_template_wants_one(tmp_path: Path) -> None:
    path = gguf_file(tmp_path / "own.gguf", general__name="own")
    with pytest.raises(OperatorError, match=r"holds no chat template: set model\.template"):
        local_model(str(path))
    assert local_model(str(path), "mine").template == "mine"


def test_a_file_that_is_no_model_is_the_operators_mistake(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="there is no such file"):
        local_model(str(tmp_path / "none.gguf"))
    (tmp_path / "text.gguf").write_text("a text of more than a few bytes")
    with pytest.raises(OperatorError, match="is not a GGUF file"):
        local_model(str(tmp_path / "text.gguf"))


def test_the_home_folder_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    path = gguf_file(tmp_path / "own.gguf", tokenizer__chat_template="its template")
    assert local_model("~/own.gguf").path == path


@pytest.mark.parametrize("name", PACKAGED)
def test_the_real_models_are_there(name: str) -> None:
    model = local_model(name)
    assert model.path.stat().st_size > 80_000_000
    assert "messages" in model.template
    assert file_digest(model.path) == model.sha256


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
    address: ServerAddress
    processes: list[psutil.Process]


@pytest.fixture(scope="module", params=[SMOLLM, GEMMA])
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A real server of each model, one after the other."""
    server = LlamaCppServer(model_settings(request.param), tmp_path_factory.mktemp("logs"))
    try:
        address = server.start()
        assert server._process and server._process.pid
        watchdog = psutil.Process(server._process.pid)
        yield Running(server, address, [watchdog, *watchdog.children(recursive=True)])
    finally:
        server.stop()


def server_count(address: ServerAddress, text: str) -> int:
    body = {"content": text, "add_special": False}
    return len(post(address, "/tokenize", body)["tokens"])


@pytest.mark.parametrize("running", [SMOLLM], indirect=True)
def test_it_replies_with_a_profile(running: Running) -> None:
    (result,) = extract(running.address, make_request(max_tokens=300), settings=running.server.settings)
    assert (result.fault, result.message) == (None, "")
    assert ShortProfile.model_validate_json(result.replies[0])
    assert result.prompt_tokens > 10 < result.completion_tokens


@pytest.mark.parametrize("running", [SMOLLM], indirect=True)
def test_a_wrong_key_is_refused(running: Running) -> None:
    with pytest.raises(OperatorError, match="refused the key"):
        extract(replace(running.address, api_key="wrong"), make_request(), settings=running.server.settings)


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
    assert counter.count(text) == server_count(running.address, text)


def test_tokens_of_real_texts_are_counted_exactly(running: Running, data: Path) -> None:
    counter = load_counter(str(running.server.model.path))
    texts = pq.read_table(data / "company_summaries.parquet", columns=["text"])["text"].to_pylist()[:20]
    assert [counter.count(text) for text in texts] == [server_count(running.address, text) for text in texts]


def test_a_whole_prompt_is_counted_up_to_its_first_token(running: Running) -> None:
    settings, server = running.server.settings, running.server
    messages = settings.prompt.messages(ShortProfile, TEXT)
    params = SamplingParams(temperature=0, frequency_penalty=0, presence_penalty=0, max_tokens=1, seed=0)

    async def send() -> int:
        connection = Connection(running.address, SCHEMA, 60)
        try:
            return (await connection.send(messages, params)).prompt_tokens
        finally:
            await connection.close()

    count = load_counter(str(server.model.path)).count(render_chat(server.model.template, messages))
    assert asyncio.run(send()) - count in (0, 1)  # one for BOS, where the model has one


def test_it_stops_and_starts_anew_elsewhere(tmp_path: Path) -> None:
    server: Server = LlamaCppServer(model_settings(SMOLLM), tmp_path)
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


def test_a_file_that_cannot_be_loaded_is_an_error_with_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    empty = gguf_file(tmp_path / "empty.gguf", general__architecture="llama", tokenizer__chat_template="x")
    server = LlamaCppServer(model_settings(str(empty)), tmp_path)
    # llama.cpp logs in a thread of its own, which may not come to its last lines; the exception is always there.
    told = r"(?s)ended with status \S+ before it was ready. Its log ends:\n.*(model|Failed to init server)"
    with pytest.raises(RunError, match=told):
        server.start()
    assert not server.alive
    assert not list(tmp_path.glob("*.json"))


def test_all_parts_of_a_split_file_are_its_weights(tmp_path: Path) -> None:
    first, second = (tmp_path / f"own-0000{n}-of-00002.gguf" for n in (1, 2))
    first.write_bytes(b"first")
    second.write_bytes(b"second")
    before = llamacpp.gguf_digest(first)
    second.write_bytes(b"trained")
    assert llamacpp.gguf_digest(first) != before
