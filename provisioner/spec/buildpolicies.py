"""The list `network.policies` with its defaults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from provisioner.spec.policies import Peer, Policy
from provisioner.spec.policywords import ports
from provisioner.spec.values import any_cidr


def build_policies(written: Sequence[Mapping[str, Any]]) -> tuple[Policy, ...]:
    return tuple(_policy(each) for each in written)


def _policy(written: Mapping[str, Any]) -> Policy:
    return Policy(
        name=written["name"],
        namespaces=tuple(written["namespaces"]),
        kind=written.get("kind", Policy.kind),
        pods=MappingProxyType(dict(written.get("pods", {}))),
        sources=tuple(map(_peer, written.get("from", ()))),
        destinations=tuple(map(_peer, written.get("to", ()))),
    )


def _peer(written: Mapping[str, Any]) -> Peer:
    return Peer(
        pods=MappingProxyType(dict(written["pods"])) if "pods" in written else None,
        namespaces=tuple(written.get("namespaces", ())),
        cidr=str(any_cidr(written["cidr"])) if "cidr" in written else None,
        excluded=tuple(str(any_cidr(each)) for each in written.get("except", ())),
        ports=tuple(map(ports, written.get("ports", ()))),
    )
