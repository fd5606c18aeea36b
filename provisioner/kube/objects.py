"""Kubernetes objects as plain data: their names, order and digests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Object = Mapping[str, Any]

_FIRST = ("Namespace", "CustomResourceDefinition")


def object_key(item: Object) -> str:
    """ "Kind namespace/name", as people say it."""
    metadata = item["metadata"]
    namespace = metadata.get("namespace")
    return (
        f"{item['kind']} {namespace}/{metadata['name']}"
        if namespace
        else f"{item['kind']} {metadata['name']}"
    )


def of_kubernetes(definition: str) -> bool:
    """A custom resource definition ("PLURAL.GROUP") of Kubernetes' own projects, which several manifests bring along:
    Calico's since 3.29 those of AdminNetworkPolicies. Groups below k8s.io are theirs alone (KEP-1111)."""
    return f".{definition.partition('.')[2]}".endswith((".k8s.io", ".x-k8s.io"))


def object_digest(item: Object) -> str:
    """First 16 hex digits of the SHA-256 of the object's canonical JSON."""
    return hashlib.sha256(json.dumps(item, sort_keys=True).encode()).hexdigest()[:16]


def split_first(objects: Iterable[Object]) -> tuple[list[Object], list[Object]]:
    """(namespaces and CRDs, everything else): the first have to be there before the others are sent."""
    items = list(objects)
    return [each for each in items if each["kind"] in _FIRST], [
        each for each in items if each["kind"] not in _FIRST
    ]


def list_json(objects: Sequence[Object]) -> bytes:
    """The objects as one v1 List."""
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}, sort_keys=True).encode()


def diff_file(item: Object) -> str:
    """The name under which `kubectl diff` writes the object: group.version.Kind.namespace.name."""
    metadata = item["metadata"]
    version = str(item["apiVersion"]).replace("/", ".")
    return f"{version}.{item['kind']}.{metadata.get('namespace', '')}.{metadata['name']}"
