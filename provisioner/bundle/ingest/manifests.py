"""Kubernetes manifests: which one of the catalogue a file is, by the objects that it has."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from provisioner.bundle.completeness import images_in

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_VERSION = re.compile(r"v\d+\.\d+\.\d+\S*")
# A list of aliases that name each other grows without end when it is walked.
_DEEPEST, _MOST = 64, 500_000


@dataclass(frozen=True)
class Known:
    """What a manifest is: the catalogue's `component` ("" for none of it), `version` "" where it does not say, the
    `images` that it asks for, and its `kinds` of objects."""

    component: str
    version: str
    images: tuple[str, ...]
    kinds: tuple[str, ...]


def recognize(data: bytes) -> Known | None:
    """None for what is no manifest of Kubernetes. Raises ValueError, with the reason, for YAML that is broken."""
    try:
        documents = list(yaml.load_all(data, Loader=_Loader))
        _bounded(documents)
    except (yaml.YAMLError, RecursionError, OverflowError, AttributeError) as error:
        raise ValueError(" ".join(str(error).split())) from error
    objects = [
        each for each in documents if isinstance(each, dict) and each.get("kind") and each.get("apiVersion")
    ]
    if not objects:
        return None
    facts, images = set(_facts(objects)), tuple(sorted(images_in(objects)))
    kinds = tuple(sorted({str(each["kind"]) for each in objects}))
    for rule in yaml.safe_load(Path(__file__).with_name("manifests.yaml").read_text(encoding="utf-8")):
        if facts.issuperset(rule["has"]) and facts.isdisjoint(rule.get("lacks", ())):
            return Known(rule["component"], _version(images, rule.get("image", "")), images, kinds)
    return Known("", "", images, kinds)


def _bounded(node: object) -> None:
    """Raises ValueError for documents that are more when walked than when read."""
    stack, seen = [(node, 0)], 0
    while stack:
        each, depth = stack.pop()
        seen += 1
        if seen > _MOST or depth > _DEEPEST:
            raise ValueError("it refers to itself, or is nested absurdly deep")
        if isinstance(each, dict):
            stack += [(value, depth + 1) for value in each.values()]
        elif isinstance(each, list):
            stack += [(value, depth + 1) for value in each]


def _facts(objects: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for each in objects:
        about = each.get("metadata")
        name = f"{each['kind']}/{about.get('name', '') if isinstance(about, dict) else ''}"
        yield name
        values = each.get("data")
        if each["kind"] == "ConfigMap" and isinstance(values, dict):
            for key, value in values.items():
                yield from (f"{name}/{key}", f"{name}/{key}={value}")


def _version(images: Sequence[str], wanted: str) -> str:
    """The tag of the image whose name ends so."""
    for image in images:
        name, _, tag = image.partition("@")[0].rpartition(":")
        if wanted and (f"/{name}".endswith((f"/{wanted}", f"-{wanted}"))) and _VERSION.fullmatch(tag):
            return tag
    return ""
