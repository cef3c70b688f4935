"""Validate a document as the Kubernetes API server would: defaults filled in, unknown fields refused."""

import gzip
import importlib.util
import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import kubernetes_validate
from jsonschema import Draft7Validator

KUBERNETES = "1.34"
Schema = dict[str, Any]


def crd_schema(folder: Path, kind: str) -> Schema:
    """Read a kind's schema from the stored custom resource definitions."""
    with gzip.open(folder / "crd-schemas.json.gz", "rt", encoding="utf-8") as file:
        schema: Schema = json.load(file)[kind]
    return schema


def ray_up_schema() -> Schema:
    """Read the cluster launcher's schema from the installed wheel, without importing Ray."""
    spec = importlib.util.find_spec("ray")
    assert spec is not None and spec.origin is not None, "ray is not installed"
    path = Path(spec.origin).parent / "autoscaler" / "ray-schema.json"
    schema: Schema = json.loads(path.read_text(encoding="utf-8"))
    return schema


def kubernetes_complaints(document: Schema) -> list[str]:
    """Return where an object of Kubernetes' own differs from its strict schema, which refuses unknown fields."""
    try:
        kubernetes_validate.validate(document, KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [f"{'.'.join(map(str, error.path))}: {error.message}"]
    return []


def pod_complaints(template: Schema) -> list[str]:
    """Return where a pod template differs from its strict schema."""
    pod = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "pod"}, "template": template}
    return kubernetes_complaints(pod)


def schema_complaints(document: Any, schema: Schema) -> list[str]:
    """Return where a document differs from a JSON schema."""
    errors = sorted(Draft7Validator(schema).iter_errors(document), key=lambda error: error.json_path)
    return [f"{error.json_path}: {error.message}" for error in errors]


def crd_complaints(document: Any, schema: Schema) -> list[str]:
    """Return what the API server would refuse, and what it would drop without a word."""
    return schema_complaints(defaulted(document, schema), closed(schema))


def defaulted(document: Any, schema: Schema) -> Any:
    """Fill in the schema's defaults, which come before validation and satisfy required fields."""
    if isinstance(document, list):
        return [defaulted(item, schema.get("items", {})) for item in document]
    if not isinstance(document, dict):
        return document
    fields = schema.get("properties", {})
    more = schema.get("additionalProperties")
    rest = more if isinstance(more, dict) else {}
    defaults = {name: deepcopy(field["default"]) for name, field in fields.items() if "default" in field}
    filled = defaults | document
    return {name: defaulted(value, fields.get(name, rest)) for name, value in filled.items()}


def closed(schema: Schema) -> Schema:
    """Turn a structural schema into Draft 7 that refuses fields it does not declare."""
    result = dict(schema)
    if "properties" in schema:
        result["properties"] = {name: closed(field) for name, field in schema["properties"].items()}
        if "additionalProperties" not in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
            result["additionalProperties"] = False
    for keyword in ("items", "additionalProperties"):
        if isinstance(schema.get(keyword), dict):
            result[keyword] = closed(schema[keyword])
    if schema.get("x-kubernetes-int-or-string"):
        result.pop("type", None)
    elif schema.get("nullable") and "type" in schema:
        result["type"] = [schema["type"], "null"]
    return result
