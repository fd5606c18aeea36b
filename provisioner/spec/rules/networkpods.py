"""Pods of the network plug-in: who makes them, and what they ask for within what they may have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal

from provisioner.errors import Problem
from provisioner.spec.draft import Draft
from provisioner.spec.networkpods import AMOUNTS
from provisioner.spec.quantities import part_of

_AT = ("network", "pods")


def pods_are_made_here(draft: Draft) -> Iterator[Problem]:
    """An operator makes its pods by its own object, and a cluster that others have built has theirs."""
    if draft.get(*_AT) is None:
        return
    if draft.get("existing") is not None:
        reason = "pods: the cluster's network is its builder's"
        yield draft.problem(_AT, reason, "leave it out", key=True)
    elif (
        draft.get("network", "plugin") == "calico" and draft.get("network", "calico", "install") == "operator"
    ):
        reason = "pods: Calico's operator makes them"
        hint = "say it in network.calico.operator.installation (calicoNodeDaemonSet, typhaDeployment)"
        yield draft.problem(_AT, reason, hint, key=True)


def requests_are_within_limits(draft: Draft) -> Iterator[Problem]:
    """The API server takes no container that asks for more than it may have."""
    containers = draft.get(*_AT, "containers", default={})
    for name, part in containers.items() if isinstance(containers, Mapping) else ():
        for amount in AMOUNTS if isinstance(part, Mapping) else ():
            at = (*_AT, "containers", name, "requests", amount)
            asked, most = (draft.get(*_AT, "containers", name, key, amount) for key in ("requests", "limits"))
            if not isinstance(asked, str) or not isinstance(most, str):
                continue
            if part_of(asked, Decimal(1)) > part_of(most, Decimal(1)):
                reason = f"{amount}: {name} asks for {asked}, and may have {most} at most"
                yield draft.problem(at, reason, "lower it, or raise the limit")
