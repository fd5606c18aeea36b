"""Words of Calico in a spec, each judged by itself."""

from __future__ import annotations

import ipaddress
import re
from types import MappingProxyType
from typing import Any

from provisioner.inventory.spelling import said
from provisioner.inventory.words import hint_for
from provisioner.spec.calico import ENCAPSULATIONS, OF_POLICIES
from provisioner.spec.felixwords import KEYS_OF_VARIABLES, PREFIX, setting
from provisioner.spec.goregexp import regular_expression
from provisioner.spec.othernames import hint_of, key_elsewhere
from provisioner.spec.values import RefusedError, address, cidr, host

_BARE = ("first-found", "kubernetes-internal-ip")
_WITH_VALUE = ("can-reach", "interface", "skip-interface", "cidr")
_METHODS = (*_BARE, *(f"{each}=…" for each in _WITH_VALUE))
VARIABLES = (
    "AUTODETECT_POLL_INTERVAL", "CALICO_DISABLE_FILE_LOGGING", "CALICO_EARLY_NETWORKING", "CALICO_K8S_NODE_REF",
    "CALICO_MANAGE_CNI", "CALICO_NODENAME_FILE", "CALICO_ROUTER_ID", "CALICO_STARTUP_LOGLEVEL", "DISABLE_NODE_IP_CHECK",
    "BGP_LOGSEVERITYSCREEN", "CALICO_TERMINATION_LOGLEVEL",
)  # fmt: skip
"""What the container calico-node reads that may be chosen, beside FELIX_… (docs, reference/configure-calico-node)."""
_ELSEWHERE = MappingProxyType(
    {
        "AS": "bgp.as_number",
        "IP": "autodetection",
        "IP6": "autodetection",
        "IP_AUTODETECTION_METHOD": "autodetection",
        "IP6_AUTODETECTION_METHOD": "autodetection",
        "CALICO_IPV4POOL_CIDR": "pools",
        "CALICO_IPV6POOL_CIDR": "pools",
        "CALICO_IPV4POOL_IPIP": "encapsulation",
        "CALICO_IPV4POOL_VXLAN": "encapsulation",
        "CALICO_IPV6POOL_VXLAN": "encapsulation",
        "CALICO_IPV4POOL_BLOCK_SIZE": "block_size",
        "CALICO_IPV6POOL_BLOCK_SIZE": "block_size_ipv6",
        "CALICO_IPV4POOL_NAT_OUTGOING": "nat_outgoing",
        "CALICO_IPV4POOL_NODE_SELECTOR": "pools",
        "NO_DEFAULT_POOLS": "pools",
        "CALICO_NETWORKING_BACKEND": "encapsulation",
        "CLUSTER_TYPE": "encapsulation",
        **KEYS_OF_VARIABLES,
    }
)
"""Variables that a key of the section stands for."""
_SLIPS = MappingProxyType(
    {
        "CALICO_AUTODETECTION_METHOD": "IP_AUTODETECTION_METHOD",
        "CALICO_IP_AUTODETECTION_METHOD": "IP_AUTODETECTION_METHOD",
        "IP_AUTODETECT_METHOD": "IP_AUTODETECTION_METHOD",
        "CALICO_IPV4POOL_CIDRS": "CALICO_IPV4POOL_CIDR",
        "CALICO_IPV4_POOL_CIDR": "CALICO_IPV4POOL_CIDR",
        "CALICO_IPV4POOL_MODE": "CALICO_IPV4POOL_IPIP",
        "CALICO_MTU": "FELIX_VXLANMTU",
    }
)
"""Names that go round and that no version of Calico reads."""

_HINT = re.compile(r"use (?:network\.pod_cidrs, or )?network\.calico\.(\w+)")
_BY_FLANNEL = "leave it out: flannel brings packets from node to node"
_BY_OTHERS = "leave it out: others' routers carry packets"
_NO_BGP = "leave it out: BGP of Cilium's is not supported here"
_OF_FLANNEL = MappingProxyType(
    {"wireguard": "use network.flannel.backend: wireguard", "encapsulation": "use network.flannel.backend"}
)
"""What stands for keys of Calico's own network under canal."""


def hint_within(hint: str, network: object) -> str:
    """The hint, or another where it names a key that is not there in the section `network`."""
    found = _HINT.match(hint)
    if found is None or found[1] in (*OF_POLICIES, "policy_only") or not isinstance(network, dict):
        return hint
    if network.get("plugin") == "cilium" and found[1] == "bgp":
        return _NO_BGP
    calico = network.get("calico")
    canal = network.get("plugin") == "canal"
    if not canal and not (isinstance(calico, dict) and calico.get("policy_only") is True):
        return hint
    if hint.startswith("use network.pod_cidrs"):
        return "use network.pod_cidrs"
    return _OF_FLANNEL.get(found[1], _BY_FLANNEL) if canal else _BY_OTHERS


def encapsulation(text: str) -> None:
    """As the operator's Installation spells it."""
    if text not in ENCAPSULATIONS:
        raise RefusedError(f"there is no encapsulation {said(text)}", hint_for(text, ENCAPSULATIONS))


def autodetection(text: str) -> None:
    """How a node finds its address: METHOD, or METHOD=VALUE[,VALUE] (docs, reference/configure-calico-node). Calico
    ends at a word that it does not know (calico #2965)."""
    method, equals, value = text.partition("=")
    if method in _BARE and not equals:
        return
    if method not in _WITH_VALUE:
        hint = hint_for(method, [*_BARE, *_WITH_VALUE])
        if re.fullmatch(r"(?:eth|en|bond|ens|eno)\w*", text):
            hint = f"did you mean 'interface={text}'?"
        raise RefusedError(f"there is no autodetection method {said(text)}", hint)
    if not value:
        raise RefusedError(f"the method {method} wants a value", f"known: {', '.join(_METHODS)}")
    check = {"can-reach": host, "cidr": cidr}.get(method, regular_expression)
    for each in [value] if method == "can-reach" else value.split(","):
        if not each.strip():
            raise RefusedError(f"{said(text)} has nothing before or after a ','", "leave that ',' out")
        check(each)


def cluster_id(text: str) -> None:
    """Of route reflectors: four bytes, written as an IPv4 address (RFC 4456)."""
    try:
        written = ipaddress.IPv4Address(text)
    except ValueError:
        raise RefusedError(f"{said(text)} is not four numbers with dots", "such as 244.0.0.1") from None
    if written.is_unspecified:
        raise RefusedError(f"{written} is no cluster's", "such as 244.0.0.1")


def peer_address(text: str) -> None:
    """Of a peer outside: its address alone."""
    found = re.fullmatch(r"(?:[0-9.]+|\[[0-9a-fA-F:.]+\])(:[0-9]+)", text)
    if found:
        reason = f"{said(text)} has a port, and a peer's is not supported"
        raise RefusedError(
            reason, "write the address alone: bgp.listen_port is that of the nodes' own sessions"
        )
    address(text)


def of_variable(path: tuple[Any, ...]) -> str:
    """The hint for a variable of the container calico-node that stands in the section itself; "" for anything else."""
    if path[:-1] != ("network", "calico") or not isinstance(path[-1], str):
        return ""
    name = path[-1].upper()
    if _SLIPS.get(name, name) not in _ELSEWHERE and name not in VARIABLES and not name.startswith(PREFIX):
        return ""
    try:
        variable(name)
    except RefusedError as error:
        return error.hint
    return f"use network.calico.env.{name}"


def variable(name: str) -> None:
    """A variable of the container calico-node that the spec has no key for."""
    meant = _SLIPS.get(name, name)
    if meant in _ELSEWHERE:
        unknown = (
            f"Calico reads no {said(name)}, it is {meant}"
            if meant != name
            else f"{name} has a key of its own"
        )
        raise RefusedError(unknown, f"use network.calico.{_ELSEWHERE[meant]}")
    if name.upper().startswith(PREFIX):
        setting(name[len(PREFIX) :])  # whether there is such a one depends on the release
    elif name not in VARIABLES:
        here = key_elsewhere(("network", "calico", "env", name))
        hint = hint_of(here) if here else hint_for(name, [*VARIABLES, *_ELSEWHERE])
        raise RefusedError("Calico reads no such variable", hint)
