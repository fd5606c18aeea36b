"""Access for people: a kubeconfig that carries its own certificate, and the group that makes it an administrator's."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import yaml

from provisioner.inventory.secrets import Secret
from provisioner.kube.kubectl import KUBECTL
from provisioner.resources.model import Runner
from provisioner.shell.script import Script

ADMIN_GROUP = "provision:cluster-admins"
"""The group of the certificates, and the name of the ClusterRoleBinding that gives it cluster-admin.

Not system:masters: the API server lets that group pass without asking RBAC, so that nothing but a new CA takes it away
from a certificate that was lost. Without the binding every certificate of this group is worth nothing at once.
"""


def common_name(user: str) -> str:
    """What the API server calls the user, in RBAC and in its audit log. Never a name of the system's own."""
    return f"provision:{user}"


def portable_kubeconfig(
    *,
    cluster: str,
    server: str,
    authority: str,
    user: str,
    certificate: str,
    key: Secret,
    tls_server_name: str | None = None,
) -> Secret:
    """A kubeconfig that needs no other file. `authority`, `certificate` and `key` are PEM; `tls_server_name` is what
    the API server's certificate is checked for, where that is not in `server`.

    Names in it begin with the cluster's, because kubectl merges several kubeconfigs by name.
    """
    name = f"{cluster}-{user}"
    endpoint: dict[str, Any] = {"server": server, "certificate-authority-data": _encoded(authority)}
    if tls_server_name is not None:
        endpoint["tls-server-name"] = tls_server_name
    credentials: Mapping[str, str] = {
        "client-certificate-data": _encoded(certificate),
        "client-key-data": _encoded(key.reveal()),
    }
    data = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": cluster, "cluster": endpoint}],
        "users": [{"name": name, "user": dict(credentials)}],
        "contexts": [{"name": cluster, "context": {"cluster": cluster, "user": name}}],
        "current-context": cluster,
    }
    return Secret.text(yaml.safe_dump(data, sort_keys=True))


def group_is_bound(runner: Runner) -> bool | None:
    """Whether the cluster knows ADMIN_GROUP as its administrators; None when its API server does not say."""
    script = f"{KUBECTL} get clusterrolebinding {ADMIN_GROUP} --ignore-not-found -o name"
    answer = runner.run(Script(script + "\n"), deadline=30)
    return None if answer.status != 0 else bool(answer.stdout.strip())


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
