"""Who may do what without a name: nobody. A binding to anonymous users opens a cluster to everybody who reaches it."""

from __future__ import annotations

import json
from typing import Any

from provisioner.errors import ProvisionError
from provisioner.kube.kubectl import KUBECTL
from provisioner.kube.objects import object_key
from provisioner.resources.model import Runner
from provisioner.shell.script import Script

_ANONYMOUS = {("User", "system:anonymous"), ("Group", "system:unauthenticated")}
_OWN = ("ClusterRoleBinding", "system:public-info-viewer", "system:public-info-viewer")
"""Kubernetes' own, for health and version only (bootstrappolicy: clusterRoleBindings); the API server's
authentication lets anonymous requests no further than to health anyway."""


def no_anonymous(runner: Runner) -> str:
    """How many bindings there are, none of which is to anonymous users. Raises ProvisionError that names those that
    are, whoever made them."""
    result = runner.run(Script(f"{KUBECTL} get clusterrolebindings,rolebindings --all-namespaces -o json\n"))
    if result.status != 0:
        said = result.stderr.decode(errors="replace").strip()
        raise ProvisionError(f"{runner.host}: the bindings of roles cannot be read: {said[-400:]}")
    items = json.loads(result.stdout)["items"]
    found = [item for item in items if _open(item)]
    if found:
        told = "\n".join(f"  {_told(item)}" for item in found)
        commands = "; ".join(f"kubectl delete {_named(item)}" for item in found)
        raise ProvisionError(f"anonymous users have rights:\n{told}", f"if nobody needs that: {commands}")
    return f"{len(items)} bindings, none to anonymous users"


def _open(item: Any) -> bool:
    subjects = {(each.get("kind"), each.get("name")) for each in item.get("subjects") or ()}
    own = (item["kind"], item["metadata"]["name"], item["roleRef"]["name"]) == _OWN
    return bool(subjects & _ANONYMOUS) and not own


def _named(item: Any) -> str:
    namespace = item["metadata"].get("namespace")
    words = f"{item['kind'].lower()} {item['metadata']['name']}"
    return f"-n {namespace} {words}" if namespace else words


def _told(item: Any) -> str:
    role = item["roleRef"]
    return f"{object_key(item)} gives them {role['kind']} {role['name']}"
