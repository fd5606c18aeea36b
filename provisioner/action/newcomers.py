"""Hosts that are not part of the cluster yet."""

from __future__ import annotations

from collections.abc import Mapping

from provisioner.playbook.facts import Facts
from provisioner.spec.model import ClusterSpec


def newcomers(spec: ClusterSpec, facts: Mapping[str, Facts]) -> list[str]:
    """Nodes that have not joined, and other hosts on which nothing is ours, as far as their facts tell."""
    return [
        name
        for name, each in facts.items()
        if not (each.kubelet_certificate if spec.nodes[name].node else each.owned)
    ]
