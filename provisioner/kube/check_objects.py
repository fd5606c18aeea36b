"""The objects of the traffic check: DaemonSets of agnhost on the pod network and on the hosts' own, two services."""

from __future__ import annotations

from typing import Any

LABEL = "provision.dev/check"
PORT = 8080
"""Where the answering pods listen; the services stand at 80."""

ROLES = ("asker", "answerer", "host")


def check_objects(namespace: str, run: str, image: str) -> list[dict[str, Any]]:
    """Everything of one check, in the order of creation, labelled with its run."""
    labels = {LABEL: run}
    space = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": namespace,
            "labels": {**labels, "pod-security.kubernetes.io/enforce": "privileged"},
        },
    }
    return [
        space,
        *(_daemon_set(role, namespace, labels, image) for role in ROLES),
        _service("cluster-ip", "ClusterIP", namespace, labels),
        _service("node-port", "NodePort", namespace, labels),
    ]


def _daemon_set(role: str, namespace: str, labels: dict[str, str], image: str) -> dict[str, Any]:
    args = ["netexec", f"--http-port={PORT}"] if role == "answerer" else ["pause"]
    container = {"name": "agnhost", "image": image, "args": args, "imagePullPolicy": "IfNotPresent"}
    pod = {
        "hostNetwork": role == "host",
        "dnsPolicy": "ClusterFirstWithHostNet" if role == "host" else "ClusterFirst",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 0,
        "tolerations": [{"operator": "Exists"}],
        "containers": [container],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": role, "namespace": namespace, "labels": labels},
        "spec": {
            "selector": {"matchLabels": {"role": role}},
            "template": {"metadata": {"labels": {"role": role, **labels}}, "spec": pod},
        },
    }


def _service(name: str, kind: str, namespace: str, labels: dict[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"type": kind, "selector": {"role": "answerer"}, "ports": [{"port": 80, "targetPort": PORT}]},
    }
