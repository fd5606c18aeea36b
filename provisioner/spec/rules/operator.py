"""What Calico's operator takes, and what the spec says in words of its own instead (tigera/operator, api/v1 and
pkg/render/node.go)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from provisioner.errors import Problem
from provisioner.spec.draft import Draft, Unusable
from provisioner.spec.rules.felix import number_in_bounds

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
        ("serviceCIDRs",): "network.service_cidrs",
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
_BOUNDS: Mapping[str, tuple[int, int]] = MappingProxyType(
    {
        "controlPlaneReplicas": (1, 2**31 - 1),
        "nodeMetricsPort": (1, 65535),
        "typhaMetricsPort": (1, 65535),
    }
)
"""Numbers of Installation whose bounds its definition does not tell (pkg/controller/installation/validation.go; ports
are those of a Service)."""
_SET: Mapping[str, str] = MappingProxyType({"defaultEndpointToHostAction": "Accept"})
"""Felix's fields that calico-node always has a variable for, and its value (nodeEnvVars). Of the others there
healthPort follows FelixConfiguration, and the rest have no field or a key of the spec."""
_SET_BY: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "prometheusMetricsEnabled": ("nodeMetricsPort",),
        "prometheusMetricsPort": ("nodeMetricsPort",),
        "endpointStatusPathPrefix": ("calicoNetwork", "linuxPolicySetupTimeoutSeconds"),
    }
)
"""Felix's fields that calico-node has a variable for where a field of Installation is there (nodeEnvVars)."""


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


def felix_s_variables_are_the_operator_s(draft: Draft) -> Iterator[Problem]:
    """Felix takes a variable before its configuration, which would be read by nobody."""
    felix = draft.get(*_AT, "felix")
    if draft.get(*_AT, "install") != "operator" or not isinstance(felix, Mapping):
        return
    for name, value in _SET.items():
        if name in felix and str(felix[name]).lower() != value.lower():
            reason = f"{name}: the operator tells Felix {value} by a variable, which beats it"
            yield draft.problem(
                (*_AT, "felix", name), reason, "leave it out, or use install: manifest", key=True
            )
    for name, path in _SET_BY.items():
        if name in felix and _field(draft.get(*_FURTHER), path) is not None:
            reason = f"{name}: operator.installation has {'.'.join(path)}, of which the operator makes a variable that"
            yield draft.problem(
                (*_AT, "felix", name), f"{reason} beats it", "leave one of them out", key=True
            )


def installation_s_numbers_are_in_bounds(draft: Draft) -> Iterator[Problem]:
    further = draft.get(*_FURTHER)
    for name, bounds in _BOUNDS.items() if isinstance(further, Mapping) else ():
        if name in further:
            yield from number_in_bounds(draft, (*_FURTHER, name), further[name], bounds)


def installation_has_no_second_word(draft: Draft) -> Iterator[Problem]:
    """Two values for one field: whichever won, the other would be a lie."""
    further = draft.get(*_FURTHER)
    if not isinstance(further, Mapping):
        return
    for path, key in _KEYS.items():
        if _field(further, path) is None:
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


def _field(section: object, path: tuple[str, ...]) -> object:
    """What is written at the path; None where nothing is."""
    for step in path:
        section = section.get(step) if isinstance(section, Mapping) else None
    return section
