"""The names that others have for keys and values of the spec's section `network` (othernames.yaml)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from provisioner.inventory.spelling import kind_of

_PLUGINS = ("flannel", "calico", "cilium")
"""Sections in which the names of the whole network count, too."""
_ROOT = "cluster"
_OUT = "leave it out"


def key_elsewhere(path: tuple[Any, ...], known: Iterable[str] = ()) -> str:
    """What says here what others mean by the key at `path`, where none but the `known` ones are; "" for a name of
    nobody, and for one of the spec's own in another spelling."""
    places, name = _places(path[:-1]) or [_ROOT], _folded(path[-1])
    spelt, tables = name in map(_folded, known), _tables("keys")
    for depth in range(len(places), 0, -1):
        if depth == 1 < len(places) and places[0] == "network" and places[1] not in _PLUGINS:
            break
        here = tables.get(".".join(places[:depth]), {}).get(name)
        if here or (spelt and depth == len(places)):
            return here or ""
    return ""


def value_elsewhere(path: tuple[Any, ...], value: object, spelt: str = "") -> str:
    """What others' word for the value at `path`, `spelt` so in the file, is here, or their kind of value ("a mapping");
    "" for a word of nobody."""
    words = _tables("values").get(".".join(_places(path)), {})
    return words.get(_folded(spelt or value)) or words.get(kind_of(value), "")


def hint_of(here: str) -> str:
    """What to do where others mean what `here` says: use it, or do without."""
    return here if here.startswith(_OUT) else f"use {here}"


def _places(path: tuple[Any, ...]) -> list[str]:
    """An entry of a list is where the list is."""
    return [each for each in path if isinstance(each, str)]


def _folded(name: object) -> str:
    return str(name).lower().replace("-", "").replace("_", "")


@cache
def _tables(kind: str) -> Mapping[str, Mapping[str, str]]:
    import yaml

    text = Path(__file__).with_name("othernames.yaml").read_text(encoding="utf-8")
    found: Mapping[str, Mapping[str, str]] = yaml.safe_load(text)[kind]
    return {place: {_folded(name): here for name, here in names.items()} for place, names in found.items()}
