"""The module `kubeconfig`: a kubeconfig that points to certificate files of its host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from provisioner.resources.model import Present, Resource
from provisioner.resources.task import TaskCall
from provisioner.shell.script import Blob


def kubeconfig_text(
    server: str, authority: str, user: str, credentials: Mapping[str, Any], cluster: str
) -> str:
    """A kubeconfig with one context. `authority` is a path; `credentials` the user's fields as kubectl knows them."""
    data = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": cluster, "cluster": {"server": server, "certificate-authority": authority}}],
        "users": [{"name": user, "user": dict(credentials)}],
        "contexts": [{"name": f"{user}@{cluster}", "context": {"cluster": cluster, "user": user}}],
        "current-context": f"{user}@{cluster}",
    }
    return yaml.safe_dump(data, sort_keys=True)


class Kubeconfig:
    """Makes a file (resources.paths) with rights 0600."""

    def build(self, task: TaskCall) -> Sequence[Resource]:
        required = {"dest": str, "server": str, "authority": str, "user": str}
        optional = ("cluster", "owner", "certificate", "client_file", "rewritten_by")
        task.check(required, dict.fromkeys(optional, str))
        if bool(task.args.get("certificate")) == bool(task.args.get("client_file")):
            raise task.error(
                "needs either 'certificate' (a pair NAME.crt, NAME.key) or 'client_file' (one PEM)"
            )
        pair, one = task.args.get("certificate"), task.args.get("client_file")
        credentials = {"client-certificate": one or f"{pair}.crt", "client-key": one or f"{pair}.key"}
        cluster = str(task.args.get("cluster") or "kubernetes")
        text = kubeconfig_text(
            str(task.args["server"]),
            str(task.args["authority"]),
            str(task.args["user"]),
            credentials,
            cluster,
        )
        blob, path = Blob.of(text.encode()), task.path("dest")
        owner = str(task.args.get("owner") or "root")
        attrs = {"type": "file", "mode": "600", "owner": owner, "group": "root", "sha256": blob.sha256}
        spec = {"content": blob, "rewritten_by": task.args.get("rewritten_by")}
        return [Resource("file", path, Present(attrs), spec, text, writes=(path,))]
