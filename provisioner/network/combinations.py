"""Whether a plug-in's version goes with the rest: what its publisher has tested, what is known to be broken.

The facts are in combinations.yaml, each with its source.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from provisioner.errors import ProvisionError
from provisioner.spec.model import ClusterSpec

Version = tuple[int, int]
_AGENTS = {
    "calico": "calico/node",
    "flannel": "/flannel",
    "cilium": "cilium/cilium",
    "operator": "/operator",
}
"""What the name of the image of a plug-in's agent ends in."""


@dataclass(frozen=True)
class Misfit:
    """`untested`: it may work; nobody has said so."""

    reason: str
    hint: str
    untested: bool = False


def misfits(spec: ClusterSpec, images: Sequence[str], kernels: Mapping[str, str]) -> Iterator[Misfit]:
    """What does not go together. `images` are the upstream manifest's references, `kernels` the nodes' releases."""
    for plugin in ("flannel", "calico") if spec.network.plugin == "canal" else (spec.network.plugin,):
        version = version_of(plugin, images)
        if version is not None:
            yield from _of_agent(spec, plugin, version, kernels)


@dataclass(frozen=True)
class Kernel:
    """The oldest that goes, and who says so."""

    version: Version = (0, 0)
    source: str = ""


def kernel_for(plugin: str, release: Version | None) -> Kernel:
    """Of a plug-in's release; any where its publisher names none, or nobody knows the release."""
    for rule in _rules().get(plugin, {}).get("tested", ()):
        if _pair(rule["version"]) == release:
            return Kernel(_pair(rule["kernel"]), rule["source"])
    return Kernel()


def kernel_with(feature: str) -> Kernel:
    """Of what a kernel brings by itself ("wireguard")."""
    rule = _rules()["features"][feature]
    return Kernel(_pair(rule["kernel"]), rule["source"])


def releases_of(images: Sequence[str]) -> dict[str, Version]:
    """By plug-in, of those whose agent's image is among the references `images`."""
    known = {plugin: version_of(plugin, images) for plugin in ("flannel", "calico", "cilium")}
    return {plugin: version for plugin, version in known.items() if version is not None}


def _of_agent(
    spec: ClusterSpec, plugin: str, version: Version, kernels: Mapping[str, str]
) -> Iterator[Misfit]:
    named = f"{plugin if plugin == 'flannel' else plugin.capitalize()} {version[0]}.{version[1]}"
    for rule in _rules()[plugin]["broken"]:
        if version < _pair(rule["before"]) and _concerns(rule, spec):
            what = f"proxy.mode {rule['proxy']}" if "proxy" in rule else f"the back end {rule['backend']}"
            yield Misfit(
                f"{named} does not go with {what}: {rule['why']} ({rule['source']})", rule["instead"]
            )
    tested = {_pair(rule["version"]): rule for rule in _rules()[plugin]["tested"]}
    if not tested:
        return
    if version not in tested:
        yield Misfit(
            f"{named}: nobody has said with which releases of Kubernetes it works", _ALLOW, untested=True
        )
        return
    yield from _outside(named, tested[version], spec.kubernetes.minor, kernels)


_ALLOW = "choose another version, or set network.allow_untested: true"


def version_of(plugin: str, images: Sequence[str]) -> Version | None:
    """Of the agent, by the tag of its image; None where that is no version."""
    for reference in images:
        name, _, tag = reference.partition("@")[0].rpartition(":")
        found = re.match(r"v?(\d+)\.(\d+)", tag)
        if name.endswith(_AGENTS[plugin]) and found:
            return int(found[1]), int(found[2])
    return None


def operator_images(images: Sequence[str], features: Sequence[str]) -> list[str]:
    """The names of what Calico's operator, whose own image is one of `images`, tells nodes to pull for the `features`
    that are asked for. Raises ProvisionError for a version of which nobody has looked it up."""
    rule, version = _rules()["operator"], version_of("operator", images)
    known = [_pair(each) for each in rule["versions"]]
    if version not in known:
        said = "no version is known" if version is None else f"{version[0]}.{version[1]}"
        named = ", ".join(rule["versions"])
        raise ProvisionError(
            f"which images Calico's operator pulls is known of {named}, not of this one ({said})",
            "use network.calico.install: manifest",
        )
    return [str(name) for each in ("always", *features) for name in rule[each]]


def _outside(named: str, rule: Mapping[str, Any], minor: int, kernels: Mapping[str, str]) -> Iterator[Misfit]:
    first, last = rule["kubernetes"]
    if not first <= minor <= last and minor not in rule.get("seen", ()):
        reason = (
            f"{named} is tested with Kubernetes 1.{first} to 1.{last}, this is 1.{minor} ({rule['source']})"
        )
        yield Misfit(reason, _ALLOW, untested=True)
    old = [host for host, kernel in kernels.items() if _pair(kernel) < _pair(rule["kernel"])]
    if old:
        reason = f"{', '.join(old)}: {named} wants Linux {rule['kernel']} or newer ({rule['source']})"
        yield Misfit(reason, _ALLOW, untested=True)


def _concerns(rule: Mapping[str, Any], spec: ClusterSpec) -> bool:
    proxy: bool = rule.get("proxy", spec.proxy.mode) == spec.proxy.mode
    backend: bool = rule.get("backend", spec.network.flannel.backend) == spec.network.flannel.backend
    return proxy and backend


def _pair(text: str) -> Version:
    found = re.match(r"(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)


@cache
def _rules() -> Mapping[str, Any]:
    text = Path(__file__).with_name("combinations.yaml").read_text(encoding="utf-8")
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded
