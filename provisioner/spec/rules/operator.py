"""What Calico's operator takes, and what the spec says in words of its own instead (tigera/operator, api/v1 and
pkg/render/node.go)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from provisioner.errors import Problem
from provisioner.spec.draft import Draft, Unusable

_AT = ("network", "calico")
_OPERATOR = (*_AT, "operator")
_FURTHER = (*_OPERATOR, "installation")
_KEYS: Mapping[tuple[str, ...], str] = MappingProxyType(
    {
        ("variant",): "",
        ("registry",): "cluster.registry",
        ("imagePath",): "cluster.registry.project",
        ("imagePrefix",): "cluster.registry.project",
        ("flexVolumePath",): "network.calico.operator.flex_volume",
        ("kubeletVolumePluginPath",): "network.calico.operator.csi",
        ("calicoNetwork", "bgp"): "network.calico.encapsulation",
        ("calicoNetwork", "ipPools"): "network.calico.pools",
        ("calicoNetwork", "mtu"): "network.calico.mtu",
        ("calicoNetwork", "nodeAddressAutodetectionV4"): "network.calico.autodetection",
        ("calicoNetwork", "nodeAddressAutodetectionV6"): "network.calico.autodetection",
    }
)
"""Fields of Installation that other keys of the spec stand for; "" for one that has one value here."""
_LEFT_OUT: Mapping[str, str] = MappingProxyType(
    {
        "cni": "pods' links and addresses are Calico's own",
        "kubernetesProvider": "the cluster is of no provider, it is installed here",
    }
)
"""Fields of Installation that are right where they are left out."""


def the_operator_is_asked_for(draft: Draft) -> Iterator[Problem]:
    """Where nothing is installed by it, nobody reads its section."""
    if draft.get(*_OPERATOR) is not None and draft.get(*_AT, "install", default="manifest") == "manifest":
        reason = "operator: Calico is installed by its manifests"
        yield draft.problem(
            _OPERATOR, reason, "set network.calico.install: operator, or leave it out", key=True
        )


def the_operator_has_its_own_way(draft: Draft) -> Iterator[Problem]:
    if draft.get(*_AT, "install") != "operator":
        return
    if draft.get(*_AT, "env") not in (None, {}) and not isinstance(draft.get(*_AT, "env"), Unusable):
        reason = "env: the operator takes no variables of calico-node"
        yield draft.problem(
            (*_AT, "env"), reason, "say it in network.calico.felix, or use install: manifest", key=True
        )
    felix = draft.get(*_AT, "felix")
    if isinstance(felix, Mapping) and "healthHost" in felix:
        reason = "healthHost: the operator's liveness probe asks Felix at localhost, and would restart it without end"
        yield draft.problem(
            (*_AT, "felix", "healthHost"), reason, "leave it out, or use install: manifest", key=True
        )
    if draft.get(*_AT, "typha") is False:
        reason = "typha: the operator always runs Typha"
        yield draft.problem((*_AT, "typha"), reason, "leave it out, or use install: manifest")


def installation_has_no_second_word(draft: Draft) -> Iterator[Problem]:
    """Two values for one field: whichever won, the other would be a lie."""
    further = draft.get(*_FURTHER)
    if not isinstance(further, Mapping):
        return
    for path, key in _KEYS.items():
        place: object = further
        for step in path:
            place = place.get(step) if isinstance(place, Mapping) else None
        if place is None:
            continue
        name = ".".join(path)
        hint = f"use {key}" if key else "leave it out"
        reason = f"{name} has a key of its own" if key else f"{name} is always Calico"
        yield draft.problem((*_FURTHER, *path), reason, hint, key=True)
    for name, why in _LEFT_OUT.items():
        if name in further:
            yield draft.problem((*_FURTHER, name), f"{name}: {why}", "leave it out", key=True)
    network = further.get("calicoNetwork")
    if isinstance(network, Mapping) and network.get("linuxDataplane", "Iptables") != "Iptables":
        reason = f"linuxDataplane: {network['linuxDataplane']} is not installed, kube-proxy carries services"
        yield draft.problem((*_FURTHER, "calicoNetwork", "linuxDataplane"), reason, "leave it out")
