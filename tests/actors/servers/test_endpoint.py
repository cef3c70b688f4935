"""The URL and the key of an endpoint that somebody else runs."""

import pytest

from actors.servers.endpoint import NO_KEY, EndpointServer, endpoint_key, endpoint_url
from actors.servers.supervisor import Server, ServerAddress
from extraction.errors import OperatorError
from tests.actors.clients import make_settings

VARIABLES = ("OPENAI_BASE_URL", "VLLM_ENDPOINT", "OPENAI_API_KEY")


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("key", "said"),
    [("sk-secret\n", "character 10 of 10"), ("sk-sécret", "character 5 of 9"), (" sk-secret", "character 1 of 10")],
)
def test_a_key_that_no_header_can_hold_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, key: str, said: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(OperatorError, match=f"OPENAI_API_KEY can't be sent: its .*{said}") as caught:
        endpoint_key()
    assert "\n" not in str(caught.value) and "cret" not in str(caught.value)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    assert endpoint_key() == "sk-secret"


def test_the_flag_takes_precedence_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_ENDPOINT", "http://guide")
    assert endpoint_url(None) == "http://guide/v1"
    monkeypatch.setenv("OPENAI_BASE_URL", "http://openai")
    assert endpoint_url(None) == "http://openai/v1"
    assert endpoint_url("http://flag") == "http://flag/v1"
    assert endpoint_url("") == "http://openai/v1"


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("http://host:8000", "http://host:8000/v1"),
        ("http://host:8000/", "http://host:8000/v1"),
        (" https://host \n", "https://host/v1"),
        ("HTTP://host", "HTTP://host/v1"),
        ("http://[::1]:8000", "http://[::1]:8000/v1"),
        ("http://host/v1", "http://host/v1"),
        ("http://host/v1/", "http://host/v1"),
        ("http://host/v1/chat/completions", "http://host/v1"),
        ("https://api.example/v2/abc/openai/v1", "https://api.example/v2/abc/openai/v1"),
        ("https://gateway.example/team/", "https://gateway.example/team"),
        ("https://gateway.example/@team/v1", "https://gateway.example/@team/v1"),
    ],
)
def test_v1_is_added_to_a_url_without_a_path(given: str, url: str) -> None:
    assert endpoint_url(given) == url


@pytest.mark.parametrize(
    "given",
    [
        "host:8000",
        "host",
        " ",
        "ftp://host/v1",
        "http://",
        "http:///v1",
        "http://:8000/v1",
        "http://host:port/v1",
        "http://host:99999/v1",
        "http://host:0/v1",
        "http://[::1/v1",
        "http://my host/v1",
        "http://host\u200b/v1",
        "http://ho\nst/v1",
    ],
)
def test_a_bad_url_is_the_operators_mistake(given: str) -> None:
    with pytest.raises(OperatorError, match=r"\A[ -~]+a URL such as http://host:8000/v1 is expected"):
        endpoint_url(given)


@pytest.mark.parametrize(
    "given",
    [
        "https://user:s3cret@host/v1",
        "https://s3cret@host",
        "https://:s3cret@host:8000/v1/chat/completions",
        "https://user:s3/cret@host/v1",
        "https://user:s3cret@[::1/v1",
        "user:s3cret@host:8000",
        "https://host/v1?api_key=s3cret",
        "https://host/v1#s3cret",
        "host:8000/v1?api_key=s3cret",
    ],
)
def test_credentials_have_no_place_in_a_url(given: str) -> None:
    with pytest.raises(OperatorError, match="the key as OPENAI_API_KEY") as caught:
        endpoint_url(given)
    assert "cret" not in str(caught.value)


@pytest.mark.parametrize("variable", ["OPENAI_BASE_URL", "VLLM_ENDPOINT"])
def test_nor_in_one_of_the_environment(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "https://user:s3cret@host/v1")
    with pytest.raises(OperatorError, match="the key as OPENAI_API_KEY"):
        endpoint_url(None)


def test_a_missing_url_is_an_error_that_lists_its_sources() -> None:
    with pytest.raises(OperatorError, match=r"--endpoint URL, .*OPENAI_BASE_URL or VLLM_ENDPOINT"):
        endpoint_url(None)


def test_the_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    server: Server = EndpointServer(make_settings(endpoint={"url": "http://host", "concurrency": 7}))
    assert server.start() == ServerAddress("http://host/v1", NO_KEY, "house", 7)
    monkeypatch.setenv("OPENAI_API_KEY", "a-secret")
    assert server.start().api_key == "a-secret"


def test_stop_ends_nothing() -> None:
    server = EndpointServer(make_settings(endpoint={"url": "http://host"}))
    server.stop()
    assert server.alive
