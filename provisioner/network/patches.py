"""Typed edits of upstream manifests, by object and path. An edit that finds no target is an error."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from provisioner.errors import ProvisionError
from provisioner.kube.objects import object_key

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Edit:
    """`path` below the object `target` ("DaemonSet kube-flannel/kube-flannel-ds") gets `value`. `why` is for people.

    A path that ends in "+" appends to a list (once), one that ends in "-" takes the value out of a list.
    """

    target: str
    path: Path
    value: Any
    why: str


def parse_manifest(text: str, source: str) -> list[dict[str, Any]]:
    """The objects of a YAML stream, Lists unfolded. Raises ProvisionError."""
    try:
        documents = [each for each in yaml.load_all(text, Loader=yaml.CSafeLoader) if each]
    except yaml.YAMLError as fault:
        raise ProvisionError(f"{source} is no readable manifest: {fault}") from None
    objects: list[dict[str, Any]] = []
    for document in documents:
        objects.extend(document["items"] if document.get("kind") == "List" else [document])
    return objects


def patch(objects: Sequence[dict[str, Any]], edits: Iterable[Edit], source: str) -> list[dict[str, Any]]:
    """New objects with all `edits`. Raises ProvisionError for an edit without a target."""
    patched = copy.deepcopy(list(objects))
    by_key = {object_key(item): item for item in patched}
    for edit in edits:
        if edit.target not in by_key:
            raise ProvisionError(
                f"{source} has no {edit.target}, which should be changed ({edit.why})",
                f"it has: {', '.join(sorted(by_key))}",
            )
        _apply(by_key[edit.target], edit, source)
    return patched


def images_of(objects: Iterable[dict[str, Any]]) -> dict[str, list[tuple[str, Path]]]:
    """Where each image reference stands: reference → (object key, path)."""
    found: dict[str, list[tuple[str, Path]]] = {}
    for item in objects:
        spec = ((item.get("spec") or {}).get("template") or {}).get("spec") or {}
        for group in ("initContainers", "containers"):
            for index, container in enumerate(spec.get(group) or []):
                path: Path = ("spec", "template", "spec", group, index, "image")
                found.setdefault(container["image"], []).append((object_key(item), path))
    return found


def _apply(item: Any, edit: Edit, source: str) -> None:
    *way, last = edit.path
    place = item
    for step in way:
        try:
            place = place[step]
        except (KeyError, IndexError, TypeError):
            dotted = ".".join(str(each) for each in edit.path)
            raise ProvisionError(f"{source}: {edit.target} has no {dotted} ({edit.why})") from None
    if last == "+":
        if edit.value not in place:
            place.append(edit.value)
    elif last != "-":
        place[last] = edit.value
    elif edit.value in place:
        place.remove(edit.value)
    else:
        dotted = ".".join(str(each) for each in way)
        raise ProvisionError(f"{source}: {edit.target} has no {edit.value!r} in {dotted} ({edit.why})")
