"""Typed edits of upstream manifests, by object and path. An edit that finds no target is an error."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from provisioner.engine.patched import Patched
from provisioner.errors import ProvisionError
from provisioner.kube.objects import object_key

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Edit:
    """`path` below the object `target` ("DaemonSet kube-flannel/kube-flannel-ds") gets `value`. `why` is for people.

    A path that ends in "+" appends to a list (once), one that ends in "-" takes the value out of a list. `new`: its
    last step need not be there yet.
    """

    target: str
    path: Path
    value: Any
    why: str
    new: bool = False


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
    for _ in _made(patched, edits, source):
        pass
    return patched


def explained(
    objects: Sequence[dict[str, Any]], edits: Iterable[Edit], source: str, manifest: str
) -> list[Patched]:
    """What `patch` changes in them, for the resource `manifest`, edit by edit. Raises ProvisionError as it does."""
    return [
        Patched(manifest, edit.target, path, before, after, edit.why)
        for edit, path, before, after in _made(copy.deepcopy(list(objects)), edits, source)
    ]


def _made(
    objects: Sequence[dict[str, Any]], edits: Iterable[Edit], source: str
) -> Iterator[tuple[Edit, str, Any, Any]]:
    """Changes the objects. Each edit with its path for people, and what was and is there."""
    by_key = {object_key(item): item for item in objects}
    for edit in edits:
        if edit.target not in by_key:
            raise ProvisionError(
                f"{source} has no {edit.target}, which should be changed ({edit.why})",
                f"it has: {', '.join(sorted(by_key))}",
            )
        item = by_key[edit.target]
        path = _readable(item, edit.path)
        yield (edit, path, *_apply(item, edit, source))


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


def _readable(item: Any, path: Path) -> str:
    """ "spec.template.spec.containers[kube-flannel].image": elements of lists by their names where they have one."""
    text, place = "", item
    for step in path:
        place = place[step] if _has(place, step) else None
        if isinstance(step, int):
            named = place.get("name") if isinstance(place, dict) else None
            text += f"[{step if named is None else named}]"
        elif step not in {"+", "-"}:
            text += f".{step}"
    return text.lstrip(".")


def _has(place: Any, step: str | int) -> bool:
    if isinstance(step, int):
        return isinstance(place, list) and step < len(place)
    return isinstance(place, dict) and step in place


def _apply(item: Any, edit: Edit, source: str) -> tuple[Any, Any]:
    """What was there, and what is there now."""
    *way, last = edit.path
    place = item
    for step in way:
        try:
            place = place[step]
        except (KeyError, IndexError, TypeError):
            dotted = ".".join(str(each) for each in edit.path)
            raise ProvisionError(f"{source}: {edit.target} has no {dotted} ({edit.why})") from None
    if last == "+":
        if edit.value in place:
            return edit.value, edit.value
        place.append(edit.value)
        return None, edit.value
    if last != "-":
        there = _has(place, last)
        if not there and not (edit.new and isinstance(place, dict)):
            dotted = ".".join(str(each) for each in edit.path)
            raise ProvisionError(f"{source}: {edit.target} has no {dotted} ({edit.why})")
        before = place[last] if there else None
        place[last] = edit.value
        return before, edit.value
    if edit.value in place:
        place.remove(edit.value)
        return edit.value, None
    dotted = ".".join(str(each) for each in way)
    raise ProvisionError(f"{source}: {edit.target} has no {edit.value!r} in {dotted} ({edit.why})")
