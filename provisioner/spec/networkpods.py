"""What the spec says of the pods that the network plug-in itself runs, beyond what its publisher's manifest has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from provisioner.spec.model import Taint

AMOUNTS = ("cpu", "memory", "ephemeral-storage")
"""What a container may ask for (kubernetes.io, concepts/configuration/manage-resources-containers)."""
PROBES = {"liveness": "livenessProbe", "readiness": "readinessProbe"}
TIMES = {"period": "periodSeconds", "timeout": "timeoutSeconds", "failures": "failureThreshold"}
"""Fields of a probe (kubernetes.io, tasks/configure-pod-container/configure-liveness-readiness-startup-probes)."""
_NONE: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class ContainerPart:
    """Of one container: amounts that it asks for, and has at most; of its probes how often they ask, how long they wait
    (both in seconds), and how many of them may fail. What is not named is as it is."""

    requests: Mapping[str, str] = field(default_factory=lambda: _NONE)
    limits: Mapping[str, str] = field(default_factory=lambda: _NONE)
    liveness: Mapping[str, int] = field(default_factory=lambda: _NONE)
    readiness: Mapping[str, int] = field(default_factory=lambda: _NONE)


@dataclass(frozen=True)
class NetworkPods:
    """`tolerations` are taints that all of them bear, beside those that they bear anyway; `containers` by name."""

    tolerations: tuple[Taint, ...] = ()
    containers: Mapping[str, ContainerPart] = field(default_factory=lambda: _NONE)
