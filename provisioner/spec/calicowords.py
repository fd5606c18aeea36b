"""Words of Calico in a spec, each judged by itself."""

from __future__ import annotations

import ipaddress
import re
from types import MappingProxyType

from provisioner.inventory.spelling import said
from provisioner.inventory.words import hint_for
from provisioner.spec.calico import ENCAPSULATIONS, OF_POLICIES
from provisioner.spec.felixwords import KEYS_OF_VARIABLES, PREFIX, setting
from provisioner.spec.goregexp import regular_expression
from provisioner.spec.othernames import key_elsewhere
from provisioner.spec.values import RefusedError, cidr, host

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

_HINT = "use network.calico."
_OF_FLANNEL = MappingProxyType(
    {"wireguard": "use network.flannel.backend: wireguard", "encapsulation": "use network.flannel.backend"}
)
"""What stands for keys of Calico's own network under canal."""


def hint_within(hint: str, network: object) -> str:
    """The hint, or another where it names a key that is not there in the section `network`."""
    key = hint.removeprefix(_HINT)
    if key == hint or key.partition(".")[0] in OF_POLICIES or not isinstance(network, dict):
        return hint
    if network.get("plugin") == "canal":
        return _OF_FLANNEL.get(key, "leave it out")
    calico = network.get("calico")
    alone = isinstance(calico, dict) and calico.get("policy_only") is True
    return "leave it out" if alone else hint


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
        hint = f"use {here}" if here else hint_for(name, [*VARIABLES, *_ELSEWHERE])
        raise RefusedError("Calico reads no such variable", hint)
