"""What differs between distributions: the data beside this file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from importlib import resources
from typing import Any

import yaml

from provisioner.playbook.facts import Facts

DEFAULT = "debian"


@dataclass(frozen=True)
class Distribution:
    """`node`, `registry`, `load_balancer` and `local_load_balancer` (a node's own) are the packages for a host's role
    (no `registry`: none is known).
    `registry_unit` and `registry_user` are what the registry's package brings along, `registry_folders` lead to its
    configuration, and `registry_storage` is where it keeps images. `nginx_user` runs nginx's workers;
    `nginx_stream_module` is the file of its module `stream`, which an nginx that has it built in lacks.
    `load_balancer_booleans` are SELinux's, which load balancers need where it is at work; `load_balancer_context` is
    what their nginx runs as there ("": what the policy says). `releases` are the packages that nodes of a major release
    need beside `node`.
    """

    name: str
    node: tuple[str, ...]
    registry: tuple[str, ...]
    registry_unit: str
    registry_user: str
    registry_folders: tuple[str, ...]
    registry_storage: str
    load_balancer: tuple[str, ...]
    local_load_balancer: tuple[str, ...]
    nginx_user: str
    nginx_stream_module: str
    load_balancer_booleans: tuple[str, ...] = ()
    load_balancer_context: str = ""
    releases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def registry_folder(self) -> str:
        """Where the registry's configuration is, as config.yml."""
        return self.registry_folders[-1]

    def of_release(self, version: str) -> Distribution:
        """With what the release (VERSION_ID) needs more."""
        return replace(self, node=(*self.node, *self.releases.get(version.partition(".")[0], ())))

    def packages(self, roles: tuple[str, ...]) -> tuple[str, ...]:
        """The packages for all `roles`."""
        named = {
            "node": self.node,
            "registry": self.registry,
            "load_balancer": self.load_balancer,
            "local_load_balancer": self.local_load_balancer,
        }
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
    return known[names[0] if names else DEFAULT].of_release(facts.os_version)


def packages_by_id(roles: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """The packages for `roles` by ID, for a host whose distribution is not known yet.

    As patterns of sh over ID and VERSION_ID, in the order in which they are to be tried; "*" is any other.
    """
    found: dict[str, tuple[str, ...]] = {}
    for name, each in distributions().items():
        for version in each.releases:
            found[f"{name}-{version}*"] = each.of_release(version).packages(roles)
        found[f"{name}-*"] = each.packages(roles)
    return {**found, "*": distributions()[DEFAULT].packages(roles)}


def _distribution(name: str, data: Mapping[str, Any]) -> Distribution:
    known = {each.name for each in fields(Distribution)}
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in data.items() if key in known
    }
    releases = {version: tuple(more["node"]) for version, more in data.get("releases", {}).items()}
    return Distribution(**{**values, "name": name, "releases": releases})
