"""The objects of the traffic check: two DaemonSets of agnhost, of which one asks and one answers, and two services.

Their namespace is there all the time (templates/cluster/admission.yaml.j2).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from secrets import token_hex
from typing import Any

NAMESPACE = "provision-check"
LABEL = "provision.dev/check"
"""Whose objects they are: its value is the check's name."""
PART = "provision.dev/check-part"
"""Which of a check's parts they are of."""
PORT = 8080
"""Where the answering pods listen; the services stand at 80."""

ROLES = ("asker", "answerer")
NODE_PORT = "node-port"


def check_name(run: str) -> str:
    """Of one check of the run `run`: a migration has several."""
    return f"{run}-{token_hex(3)}"


def cluster_ip(check: str) -> str:
    """The name of the check's ClusterIP service. Not the same for all: CoreDNS keeps an answer for 30 s, and a check
    soon after another one would get the address of a service that is gone."""
    return f"cluster-ip-{re.sub('[^a-z0-9]', '', check.lower())[-10:]}"


def check_objects(name: str, image: str, nodes: Sequence[str] = (), part: int = 0) -> list[dict[str, Any]]:
    """Everything of one part of a check, in the order of creation, labelled with its name. All names but one are fixed,
    so that what a killed run left stands in the way of the next one, which then removes it. Without `nodes`: on all.
    The services are of the first part."""
    labels = {LABEL: name, PART: str(part)}
    daemon_sets = [
        _daemon_set(role, f"{role}-{part}" if part else role, labels, image, nodes) for role in ROLES
    ]
    if part:
        return daemon_sets
    # First: kube-proxies write their rules while the pods start. What is sent before gets lost, not refused.
    ports = [(cluster_ip(name), "ClusterIP"), (NODE_PORT, "NodePort")]
    return [*(_service(each, kind, {LABEL: name}) for each, kind in ports), *daemon_sets]


def _daemon_set(
    role: str, name: str, labels: dict[str, str], image: str, nodes: Sequence[str]
) -> dict[str, Any]:
    # A pod that only waits for `exec` starts sooner without agnhost's 50 MB.
    command = ["/agnhost", "netexec", f"--http-port={PORT}"] if role == "answerer" else ["sleep", "86400"]
    container = {"name": "agnhost", "image": image, "command": command, "imagePullPolicy": "IfNotPresent"}
    pod = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 0,
        "tolerations": [{"operator": "Exists"}],
        "containers": [container],
        **({"affinity": _only(nodes)} if nodes else {}),
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels},
        "spec": {
            "selector": {"matchLabels": {"role": role, **labels}},
            "template": {"metadata": {"labels": {"role": role, **labels}}, "spec": pod},
        },
    }


def _only(nodes: Sequence[str]) -> dict[str, Any]:
    """Terms of which one has to hold; a field takes one value (core/v1, NodeSelectorTerm)."""
    terms = [
        {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [name]}]} for name in nodes
    ]
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}


def _service(name: str, kind: str, labels: dict[str, str]) -> dict[str, Any]:
    ports = [{"port": 80, "targetPort": PORT}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels},
        "spec": {"type": kind, "selector": {"role": "answerer", **labels}, "ports": ports},
    }
