"""What differs between distributions: the data beside this file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from importlib import resources
from typing import Any

import yaml

from provisioner.playbook.facts import Facts

DEFAULT = "debian"


@dataclass(frozen=True)
class Distribution:
    """`manager` is who manages packages: apt or rpm. `node` and `registry` are the packages for a host's role;
    `registry_unit`, `registry_user` and `registry_config` what the registry's package brings along."""

    name: str
    manager: str
    node: tuple[str, ...]
    registry: tuple[str, ...]
    registry_unit: str
    registry_user: str
    registry_config: str

    def packages(self, roles: tuple[str, ...]) -> tuple[str, ...]:
        """The packages for all `roles`."""
        named = {"node": self.node, "registry": self.registry}
        return tuple(dict.fromkeys(name for role in roles for name in named[role]))


@cache
def distributions() -> Mapping[str, Distribution]:
    """All that are known, by ID of os-release(5)."""
    text = resources.files("provisioner.playbook").joinpath("distributions.yaml").read_text(encoding="utf-8")
    document = yaml.safe_load(text)
    return {
        name: _distribution(name, {**document["families"][own["family"]], **own})
        for name, own in document["distributions"].items()
    }


def distribution_of(facts: Facts) -> Distribution:
    """The host's, or the one that it says to be like; Debian when nothing is known."""
    known = distributions()
    names = [name for name in (facts.os_id, *facts.os_like) if name in known]
    return known[names[0] if names else DEFAULT]


def packages_by_id(roles: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """The packages for `roles` by ID, for a host whose distribution is not known yet; "*" is any other."""
    found = {name: each.packages(roles) for name, each in distributions().items()}
    return {**found, "*": found[DEFAULT]}


def _distribution(name: str, data: Mapping[str, Any]) -> Distribution:
    known = {each.name for each in fields(Distribution)}
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in data.items() if key in known
    }
    return Distribution(name=name, **values)
