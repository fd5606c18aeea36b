"""JSON out of strangers' files: read within bounds, and taken apart without trust in its form."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from provisioner.bundle.ingest.limits import Limits, refusal
from provisioner.bundle.ingest.plain import Readable
from provisioner.bundle.ingest.tree import Tree
from provisioner.bundle.oci import Descriptor
from provisioner.bundle.store import CHUNK


def whole(source: Readable, name: str, most: int) -> bytes:
    """All bytes. Raises ProvisionError, with `name`, for more than `most`."""
    parts, size = [], 0
    while data := source.read(CHUNK):
        parts.append(data)
        size += len(data)
        if size > most:
            raise refusal(name, f"has more than {most} bytes, which no document of an image has")
    return b"".join(parts)


def read_bytes(tree: Tree, name: str, limits: Limits) -> bytes:
    """A document of the tree as it is. Raises ProvisionError when it is absurdly large or not there."""
    if tree.size(name) > limits.document:
        raise refusal(name, f"has {tree.size(name)} bytes, which no document of an image has")
    return whole(tree.open(name), name, limits.document)


def parse(data: bytes, name: str) -> Any:
    """Raises ProvisionError, with `name`, when it is no JSON."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise refusal(name, f"is no JSON: {error}") from error


def mapping(value: object, name: str, what: str) -> Mapping[str, Any]:
    """Raises ProvisionError, with `name`, when `what` is no object of JSON."""
    if not isinstance(value, dict):
        raise refusal(name, f"{what} is no object")
    return value


def sequence(value: object, name: str, what: str) -> list[Any]:
    """Raises ProvisionError, with `name`, when `what` is no list; null is an empty one."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise refusal(name, f"{what} is no list")
    return value


def text(value: object, name: str, what: str) -> str:
    """Raises ProvisionError, with `name`, when `what` is no text."""
    if not isinstance(value, str):
        raise refusal(name, f"{what} is no text")
    return value


def texts(value: object, name: str, what: str) -> list[str]:
    """Raises ProvisionError, with `name`, when `what` is no list of texts."""
    return [text(each, name, f"{what}[{number}]") for number, each in enumerate(sequence(value, name, what))]


def descriptor(value: object, name: str, what: str) -> Descriptor:
    """Raises ProvisionError, with `name`, when `what` is no reference to a blob by its SHA-256."""
    raw = mapping(value, name, what)
    notes = mapping(raw.get("annotations") or {}, name, f"{what}.annotations")
    if any(not isinstance(note, str) for note in notes.values()):
        raise refusal(name, f"{what}.annotations are not all texts")
    place = mapping(raw.get("platform") or {}, name, f"{what}.platform")
    try:
        found = Descriptor.parse({**raw, "annotations": notes, "platform": place})
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise refusal(name, f"{what} is no reference to a blob: {error}") from error
    if found.size < 0:
        raise refusal(name, f"{what} has a size of {found.size}")
    return found
