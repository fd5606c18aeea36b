"""The names of others (spec/othernames.yaml): what they are said to be here is there, and is taken."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from importlib import resources

import pytest
import yaml

from provisioner.spec.othernames import key_elsewhere, value_elsewhere
from provisioner.spec.schema import CLUSTER, keys_at, refusal, rules_at

TEXT = resources.files("provisioner.spec").joinpath("othernames.yaml").read_text(encoding="utf-8")
TABLES = yaml.safe_load(TEXT)
KEYS = [(place, name, here) for place, names in TABLES["keys"].items() for name, here in names.items()]
VALUES = [(place, name, here) for place, names in TABLES["values"].items() for name, here in names.items()]
OF_FLANNEL = {name.lower(): here for name, here in TABLES["keys"]["network.flannel"].items()}
KEY = re.compile(r"\b(?:network|dns|proxy)(?:\.\w+)+")


def rules_of(place: str) -> object:
    """Of an entry, where the place is a list."""
    path: tuple[str | int, ...] = ()
    for step in () if place == "cluster" else place.split("."):
        if "schema" in rules_at(CLUSTER, path) and rules_at(CLUSTER, path)["type"] == "list":
            path = (*path, 0)
        path = (*path, step)
    return rules_at(CLUSTER, path)


def keys_named(text: str) -> Iterator[tuple[str, ...]]:
    for each in KEY.findall(text):
        yield tuple(each.split("."))


@pytest.mark.parametrize(("place", "name", "here"), [*KEYS, *VALUES])
def test_what_is_named_is_a_key_of_the_spec(place: str, name: str, here: str) -> None:
    for path in keys_named(here):
        for depth in range(1, len(path)):
            known = keys_at(CLUSTER, path[:depth])
            assert not known or path[depth] in known, (place, name)
        assert path[0] in CLUSTER


@pytest.mark.parametrize(("place", "name", "here"), KEYS)
def test_a_key_is_found_where_it_is_and_below(place: str, name: str, here: str) -> None:
    path = () if place == "cluster" else tuple(place.split("."))
    assert rules_of(place), "a place of the spec"
    for spelt in (name, name.upper(), name.replace("_", "-")):
        assert key_elsewhere((*path, spelt)) == here
        if not path:
            assert key_elsewhere(("registry", spelt)) == ""
            continue
        below = ("flannel",) if path == ("network",) else (0, "unheard")
        nearer = OF_FLANNEL.get(name.lower(), here) if below == ("flannel",) else here
        assert key_elsewhere((*path, *below, spelt)) == nearer
        assert key_elsewhere(("network", "multus", spelt)) == ""


@pytest.mark.parametrize(("place", "name", "here"), VALUES)
def test_a_word_is_refused_and_what_it_is_here_is_taken(place: str, name: str, here: str) -> None:
    rules = rules_of(place)
    assert isinstance(rules, dict)
    assert value_elsewhere(tuple(place.split(".")), name) == here
    if rules["type"] == "boolean":
        assert isinstance(yaml.safe_load(re.split("[,;]", here)[0]), bool)
        return
    if rules["type"] == "list":
        assert refusal(rules["schema"], here) is None
        return
    assert refusal(rules, name) is not None
    assert [each for each in re.findall(r"[\w-]+", here) if refusal(rules, each) is None] or KEY.match(here)


def test_no_name_stands_twice_in_a_place() -> None:
    whole = yaml.compose(TEXT)
    assert whole is not None
    for _, tables in whole.value:
        for place, names in tables.value:
            folded = Counter(re.sub("[-_]", "", name.value.lower()) for name, _ in names.value)
            assert folded.most_common(1)[0][1] == 1, (place.value, folded.most_common(1))


def test_a_key_of_the_spec_s_own_in_another_spelling_goes_before_a_place_farther_up() -> None:
    path = ("network", "calico", "bgp", "asNumber")
    assert key_elsewhere(path, keys_at(CLUSTER, path[:-1])) == ""
    assert key_elsewhere(path) == "network.calico.bgp.as_number"
