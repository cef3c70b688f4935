"""A configuration is read whole and right, or refused in one line that says where and what."""

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from extraction.config.settings import (
    Limits,
    Price,
    Settings,
    load_settings,
    parse_override,
    parts_of,
    profile_model,
)
from extraction.errors import OperatorError
from extraction.prompting.prompt import prompt_digest
from extraction.schema.company import CompanyProfile
from extraction.settings_base import dump_yaml, load_yaml
from jobs.backfills.config import Declaration
from tests.extraction.merging.test_confidence import calibration
from tests.extraction.samples import Plot, Vineyard

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
PLAIN: dict[str, Any] = {"prompt": {"instructions": "Read."}, "model": {"name": "m"}}


class Recursive(BaseModel):
    name: str
    parts: list["Recursive"]


class Mapped(BaseModel):
    counts: dict[str, int]


class Unmerged(BaseModel):
    plots: list[Plot]


class Flagged(BaseModel):
    plots: list[Mapped | None]


def written(folder: Path, text: str | None = None, **changes: Any) -> Path:
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump({**PLAIN, **changes}) if text is None else text, "utf-8")
    return path


def refused(path: Path, overrides: dict[str, Any] | None = None) -> str:
    with pytest.raises(OperatorError) as raised:
        load_settings(path, overrides)
    message = str(raised.value)
    assert "\n" not in message
    return message


def test_what_a_published_value_needs_may_be_said_for_each_field(tmp_path: Path) -> None:
    settings = load_settings(
        written(tmp_path, confidence={"min_confidence": {"identity.legal_name": 0.9, "default": 0.5}})
    )
    assert settings.confidence.minima(None) == {"identity.legal_name": 0.9, "default": 0.5}
    plain = load_settings(written(tmp_path), {"confidence.min_confidence": 0.7})
    own = calibration(min_confidence={"default": 0.8, "city": 0.9})
    assert load_settings(written(tmp_path)).confidence.minima(own) == {"default": 0.8, "city": 0.9}
    assert settings.confidence.minima(own) == {"default": 0.5, "identity.legal_name": 0.9}
    some = load_settings(written(tmp_path, confidence={"min_confidence": {"identity.legal_name": 0.6}}))
    assert some.confidence.minima(own) == {"default": 0.8, "city": 0.9, "identity.legal_name": 0.6}
    assert plain.confidence.minima(own) == {"default": 0.7}
    assert "confidence.min_confidence" in refused(written(tmp_path), {"confidence.min_confidence": 1.5})
    assert "can't be read" in refused(written(tmp_path), {"confidence.calibration": "nowhere.yaml"})


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"contact.website": 0.9, "default": 2}, "min_confidence.default: Input should be less than or equal to 1"),
        ({"contact.website": "much"}, "min_confidence.contact.website: Input should be a valid number"),
        ({"contact.webiste": 0.9}, "publishes no field of this name: did you mean contact.website?"),
        ({"contact": 0.9}, "min_confidence.contact: CompanyProfile publishes no field of this name"),
    ],
)
def test_what_a_value_needs_is_said_of_fields_that_there_are(
    tmp_path: Path, given: dict[str, Any], complaint: str
) -> None:
    assert complaint in refused(written(tmp_path, confidence={"min_confidence": given}))
    name, value = next(iter(given.items()))
    if len(given) == 1:
        said = refused(written(tmp_path), {f"confidence.min_confidence.{name}": value})
        assert said.startswith(f"--set confidence.min_confidence.{name}: ")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("limits.max_chunk_tokens", True),
        ("max_dead_fraction", False),
        ("sampling.temperature", True),
        ("servers.max_servers", True),
        ("trust", {"press": True}),
        ("confidence.min_confidence", True),
        ("confidence.min_confidence", {"default": False}),
    ],
)
def test_true_and_false_are_no_numbers(tmp_path: Path, key: str, value: Any) -> None:
    said = refused(written(tmp_path), {key: value})
    assert said.startswith(f"--set {key}: Input should be a number, not true or false (given: ")


@pytest.mark.parametrize("name", ["demo.yaml", "extract.yaml"])
def test_the_shipped_configurations_load_with_examples_that_fit(name: str) -> None:
    settings = load_settings(CONFIGS / name)
    model = settings.profile_model()
    assert issubclass(model, BaseModel)
    for example in settings.prompt.examples:
        model.model_validate(example.profile)
        assert list(example.profile) == list(model.model_fields)


def test_what_is_not_said_has_a_default(tmp_path: Path) -> None:
    settings = load_settings(written(tmp_path, limits={"max_output_tokens": 7}))
    assert settings.limits == Limits(max_output_tokens=7)
    assert settings.profile_model() is CompanyProfile
    assert settings.wire == "auto"


def test_the_prompt_may_stand_in_a_file_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "short.yaml").write_text("instructions: Lies.\n", "utf-8")
    path = written(tmp_path, prompt="prompts/short.yaml")
    assert load_settings(path).prompt.instructions == "Lies."
    assert "nowhere.yaml can't be read: No such file" in refused(path, {"prompt": "nowhere.yaml"})
    assert load_settings(path, {"prompt.instructions": "Read."}).prompt.instructions == "Read."


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"limit": {}}, r"run.yaml: limit: there is no such key (given: {})"),
        ({"limits": {"max_tokens": 5}}, "run.yaml: limits.max_tokens: there is no such key (given: 5)"),
        ({"limits": None}, "run.yaml: limits: Input should be"),
        ({"model": {}}, "run.yaml: model.name: Field required"),
        ({"wire": "tight"}, "'auto', 'bounded' or 'light' (given: 'tight')"),
        ({"sampling": {"temperature": "a\nb" * 90}}, "sampling.temperature: "),
        ({"prompt": {"instructions": "x", "example": []}}, "prompt.example: there is no such key"),
        ({"prompt": None}, "run.yaml: prompt: "),
    ],
)
def test_a_wrong_value_is_refused_with_file_key_and_value(
    tmp_path: Path, changes: dict[str, Any], complaint: str
) -> None:
    assert complaint in refused(written(tmp_path, **changes))


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("limits.max_chunk_token", 9, "--set limits.max_chunk_token: there is no such "
         "key (given: 9): did you mean limits.max_chunk_tokens?"),
        ("limit.max_chunk_tokens", 9, "--set limit.max_chunk_tokens: limit: there is no such key"),
        ("limits.max_chunk_tokens", 0, "--set limits.max_chunk_tokens: Input should be"),
        ("limits", {"colour": 1}, "--set limits: limits.colour: there is no such key"),
        ("confidence.min_confidence.a.b", 2, "--set confidence.min_confidence.a.b: "),
        ("trust.b", -1, "--set trust.b: Input should be greater than 0"),
        ("max_dead_fraction.low", 1, "--set max_dead_fraction.low: max_dead_fraction: Input should be"),
        ("model.name.first", 1, "--set model.name.first: name has no keys of its own (it is 'm')"),
    ],
)  # fmt: skip
def test_a_wrong_override_is_to_blame_itself(tmp_path: Path, key: str, value: Any, complaint: str) -> None:
    assert refused(written(tmp_path), {"price.gpu_hour": 1, "trust.a": 1, key: value}).startswith(complaint)
    message = refused(written(tmp_path, limits={"max_tokens": 5}), {"limits.max_chunk_tokens": 9})
    assert message.startswith(f"{tmp_path / 'run.yaml'}: limits.max_tokens: ")


def test_names_with_dots_are_one_name(tmp_path: Path) -> None:
    laid = {
        "confidence.min_confidence.identity.legal_name": 0.9,
        "confidence.min_confidence.default": 0.5,
        "trust.annual.report": 3,
        "servers.labels.extract.io/vram": "in(80)",
        "sglang.flags.kv_cache_dtype": "auto",
    }
    settings = load_settings(written(tmp_path), laid)
    assert settings.confidence.min_confidence == {"identity.legal_name": 0.9, "default": 0.5}
    assert (settings.trust, settings.servers.labels) == ({"annual.report": 3}, {"extract.io/vram": "in(80)"})
    assert settings.sglang.flags.kv_cache_dtype == "auto"
    assert parts_of("extract.set.limits.max_chunk_tokens", Declaration) == [
        "extract",
        "set",
        "limits.max_chunk_tokens",
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("limits: [1, 2", "run.yaml is not YAML: "),
        ("a: b: c", "run.yaml is not YAML: "),
        (
            "wire: auto\nwire: light",
            'is not YAML: the key wire stands twice in "<unicode string>", line 2, column 1',
        ),
        ("limits: {max_chunk_tokens: 5, 'max_chunk_tokens': 6}", "the key max_chunk_tokens stands twice"),
        ("a: !!python/object:os.system x", "run.yaml is not YAML: "),
        ("", "run.yaml holds no settings: `key: value` lines are expected"),
        ("just text", "holds no settings"),
        ("model: {name: m}", "run.yaml: prompt: Field required"),
        ("1: 2", "run.yaml: "),
    ],
)
def test_a_file_that_holds_no_settings_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    assert complaint in refused(written(tmp_path, text))


def test_a_file_that_can_not_be_read_is_refused(tmp_path: Path) -> None:
    assert "none.yaml can't be read: No such file" in refused(tmp_path / "none.yaml")
    assert "can't be read: Is a directory" in refused(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"model: {name: caf\xe9}")
    assert "latin.yaml is not YAML" in refused(tmp_path / "latin.yaml")


def test_overrides_are_laid_over_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, limits={"max_chunk_tokens": 5, "max_output_tokens": 6})
    settings = load_settings(path, {"limits.max_chunk_tokens": 9, "servers.max_servers": 2, "wire": "light"})
    assert (settings.limits.max_chunk_tokens, settings.limits.max_output_tokens) == (9, 6)
    assert (settings.servers.max_servers, settings.wire) == (2, "light")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("limits.max_chunk_tokens=8000", ("limits.max_chunk_tokens", 8000)),
        ("model.name=a=b", ("model.name", "a=b")),
        ("servers.max_servers=null", ("servers.max_servers", None)),
        ("endpoint.url=http://h:1/v1", ("endpoint.url", "http://h:1/v1")),
        ("sglang.command=[a, b]", ("sglang.command", ["a", "b"])),
        ("limits.max_chunk_tokens=010000", ("limits.max_chunk_tokens", 10_000)),
        ("limits.max_chunk_tokens=1:30", ("limits.max_chunk_tokens", "1:30")),
        ("price.gpu_hour=1e3", ("price.gpu_hour", 1000.0)),
        ("price.gpu_hour=-.5e-1", ("price.gpu_hour", -0.05)),
        ("model.name=NO", ("model.name", "NO")),
        ("max_dead_fraction=yes", ("max_dead_fraction", "yes")),
        ("confidence.logprobs=false", ("confidence.logprobs", False)),
        ("window.first=2026-01-01", ("window.first", "2026-01-01")),
    ],
)
def test_an_override_is_a_key_and_a_yaml_value(text: str, expected: tuple[str, Any]) -> None:
    assert parse_override(text) == expected


def test_keys_may_be_merged_and_what_is_written_reads_the_same_by_any_version() -> None:
    merged = load_yaml("a: &a {b: 1, c: 1}\nd: &d {<<: *a, b: 2}\ne: {<<: *d, c: 3}")
    assert merged == {"a": {"b": 1, "c": 1}, "d": {"b": 2, "c": 1}, "e": {"b": 2, "c": 3}}
    texts = ["12e34567", "0891", "0o17", "-.5", "yes", "1:30", "2026-01-01", "null", "true", "", "~", "<<"]
    data = {"texts": texts, "numbers": [10, 0.5, 1e-9, 1e30], "flags": [True, None]}
    assert load_yaml(dump_yaml(data)) == yaml.safe_load(dump_yaml(data)) == data


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a", "KEY=VALUE"),
        ("=3", "KEY=VALUE"),
        ("a=[1", "is not a YAML"),
        ("a={b: 1, b: 2}", "is not a YAML"),
        ("a=" + "9" * 5000, "is not a YAML"),
    ],
)
def test_what_is_no_override_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(OperatorError, match=complaint):
        parse_override(text)


def test_another_model_can_be_named(tmp_path: Path) -> None:
    assert load_settings(written(tmp_path, profile="tests.extraction.samples:Vineyard")).profile_model() is Vineyard


@pytest.mark.parametrize(
    ("profile", "complaint"),
    [
        (
            "nowhere.at_all:Model",
            "can't be imported (there is no module nowhere): PYTHONPATH has to hold the folder",
        ),
        ("extraction.schema.company:Nobody", "is not there: extraction.schema.company has no Nobody"),
        ("", "is not of the form module:Model"),
        ("mine/maker.py", "is not of the form module:Model: the class Maker of mine/maker.py is maker:Maker"),
        ("maker", "is not of the form module:Model"),
        (".company:CompanyProfile", "is not of the form module:Model"),
        ("extraction.schema.company:Sector", "is no pydantic model"),
        ("tests.extraction.config.test_settings:Recursive", "Recursive holds itself"),
        ("tests.extraction.config.test_settings:Mapped", "Mapped.counts is a mapping of any keys"),
        ("tests.extraction.config.test_settings:Unmerged", "Unmerged.plots has a rule with no anchor"),
    ],
)
def test_a_model_that_can_not_be_published_is_refused(tmp_path: Path, profile: str, complaint: str) -> None:
    assert complaint in refused(written(tmp_path, profile=profile))


def test_an_example_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    example = {"text": "Ana makes wine.", "profile": {"owner": "Ana"}}
    path = written(
        tmp_path,
        profile="tests.extraction.samples:Vineyard",
        prompt={"instructions": "Read.", "examples": [example]},
    )
    said = "run.yaml: example 1 of the prompt is no Vineyard (style: Field required): give a prompt of its own, or"
    assert said in refused(path)
    assert load_settings(path, {"prompt.examples": []}).prompt.examples == ()


def test_gpus_by_the_hour_and_tokens_by_the_million() -> None:
    price = Price(gpu_hour=2.5, million_prompt_tokens=0.1, million_output_tokens=0.4)
    assert price.known
    assert price.of(gpu_hours=2, prompt_tokens=3_000_000, output_tokens=500_000) == pytest.approx(5.5)
    assert not Price().known


@pytest.mark.parametrize(
    ("fitted", "why"),
    [
        ({}, None),
        ({"model": "n"}, "the calibration was fitted for the model n, the run has m"),
        ({"profile": "p:Q"}, "fitted for the profile p:Q, the run has"),
        ({"prompt": "0123"}, "fitted for the prompt 0123, the run has"),
    ],
)
def test_a_calibration_holds_for_its_model_profile_and_prompt_alone(
    fitted: dict[str, str], why: str | None
) -> None:
    settings = Settings.model_validate(PLAIN)
    prompt = prompt_digest(settings.prompt.model_dump(mode="json"))
    own = {"model": "m", "profile": settings.profile, "prompt": prompt}
    made = calibration(fitted={**calibration().fitted.model_dump(), **own, **fitted})
    settings = settings.model_copy(
        update={"confidence": settings.confidence.model_copy(update={"calibration": made})}
    )
    misfit = settings.misfit("m")
    assert misfit is None if why is None else misfit and why in misfit


def test_the_demo_s_calibration_fits_its_settings() -> None:
    settings = load_settings(CONFIGS / "demo.yaml")
    assert settings.confidence.calibration
    assert settings.misfit(settings.model.name) is None


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("class Broken(BaseModel", r"SyntaxError: .*broken\.py, line 1"),
        ("class Broken(Missing): ...", "NameError: name 'Missing'"),
    ],
)
def test_a_module_with_a_mistake_in_it_is_told(
    source: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "broken", raising=False)
    with pytest.raises(OperatorError, match=rf"'broken:Broken' can't be imported \({said}"):
        profile_model("broken:Broken")
