"""The objects of an exchange: on each node a pod that answers and asks those of the other nodes, behind a service.

They live in a namespace of their own, as pods that write to their node may not be where the traffic check's are; it
goes with them. Each is a Deployment that is replaced before it goes, as users have it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from provisioner.kube.exchange_client import CLIENT

NAMESPACE = "provision-exchange"
LABEL = "provision.dev/exchange"
"""Whose objects they are: its value is the run."""
FOLDER = "/run/provision/exchange"
"""Where the clients of a node write, in a folder of their run: a pod that is replaced goes on where the one before
ended, and what is there can be read while the API is not."""
PEERS = 8
"""How many others a node asks: of more, those behind it in their order."""
PORT = 8080
"""Where the pods listen; the services stand at 80."""
LEAVING = 4
"""Seconds for which a server goes on after its end was asked for: until no node sends it anything new."""

_GRACE = LEAVING + 2
_NOBODY = {"runAsUser": 65534, "runAsNonRoot": True}
_CONFINED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def service_name(number: int) -> str:
    """Of the node with that number: names of nodes may have dots, and begin with a digit."""
    return f"peer-{number}"


def pairs_of(nodes: Sequence[str]) -> list[tuple[str, str]]:
    """Who asks whom."""
    count = min(PEERS, len(nodes) - 1)
    return [
        (node, nodes[(number + step) % len(nodes)])
        for number, node in enumerate(nodes)
        for step in range(1, count + 1)
    ]


def services(run: str, nodes: Sequence[str]) -> list[dict[str, Any]]:
    """The namespace, with a policy that allows all where another one denies what none allows, and the services, in the
    order of creation."""
    # A folder of the host is for the privileged alone (pod-security-standards: baseline forbids hostPath).
    labels = {LABEL: run, "pod-security.kubernetes.io/enforce": "privileged"}
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}
    return [space, _policy(run), *(_service(service_name(number), run) for number in range(len(nodes)))]


def deployments(
    run: str, nodes: Sequence[str], image: str, addresses: Mapping[str, str]
) -> list[dict[str, Any]]:
    """One a node. `image` is agnhost's, `addresses` those of the nodes' services."""
    pairs = pairs_of(nodes)
    return [
        _deployment(number, run, _pod(node, run, image, _asked(node, pairs, addresses)))
        for number, node in enumerate(nodes)
    ]


def _policy(run: str) -> dict[str, Any]:
    every = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"], "ingress": [{}], "egress": [{}]}
    meta = {"name": "allow-all", "namespace": NAMESPACE, "labels": {LABEL: run}}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": meta, "spec": every}


def _service(name: str, run: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {LABEL: run}},
        "spec": {"selector": {LABEL: run, "peer": name}, "ports": [{"port": 80, "targetPort": PORT}]},
    }


def _deployment(number: int, run: str, pod: Mapping[str, Any]) -> dict[str, Any]:
    name = service_name(number)
    labels = {LABEL: run, "peer": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels},
        "spec": {
            "replicas": 1,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def _asked(node: str, pairs: Sequence[tuple[str, str]], addresses: Mapping[str, str]) -> list[str]:
    return [word for here, there in pairs if here == node for word in (there, addresses[there], "80")]


def _cpu(asked: Sequence[str]) -> int:
    """Thousandths of a core that a client uses: ten requests a second of each."""
    return 25 + 30 * len(asked) // 3


def _pod(node: str, run: str, image: str, asked: Sequence[str]) -> dict[str, Any]:
    field = {"key": "metadata.name", "operator": "In", "values": [node]}
    here = {
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchFields": [field]}]}
    }
    records = {"path": f"{FOLDER}/{run}", "type": "DirectoryOrCreate"}
    return {
        "affinity": {"nodeAffinity": here},
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": _GRACE,
        "tolerations": [{"operator": "Exists"}],
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [_server(image), _client(image, asked)],
        "volumes": [{"name": "records", "hostPath": records}, {"name": "work", "emptyDir": {}}],
    }


def _container(name: str, image: str, command: Sequence[str], cpu: int) -> dict[str, Any]:
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": list(command),
        # What it uses: with less, or none, a busy node lets it wait, and that would look like a loss.
        "resources": {"requests": {"cpu": f"{cpu}m", "memory": "16Mi"}},
    }


def _server(image: str) -> dict[str, Any]:
    probe = {"httpGet": {"path": "/hostname", "port": PORT}, "periodSeconds": 1, "timeoutSeconds": 1}
    return {
        **_container("server", image, ["/agnhost", "netexec", f"--http-port={PORT}"], 50),
        "readinessProbe": probe,
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", str(LEAVING)]}}},
        "securityContext": {**_CONFINED, **_NOBODY},
    }


def _client(image: str, asked: Sequence[str]) -> dict[str, Any]:
    """As root, whose the host's folder is, without any of root's rights. It does not mind being asked to end: until it
    is killed, the one that replaces it is there, too."""
    return {
        **_container("client", image, ["sh", "-c", CLIENT, "sh", "/records", *asked], _cpu(asked)),
        "workingDir": "/work",
        "securityContext": {**_CONFINED, "runAsUser": 0, "readOnlyRootFilesystem": True},
        "volumeMounts": [
            {"name": "records", "mountPath": "/records"},
            {"name": "work", "mountPath": "/work"},
        ],
    }
