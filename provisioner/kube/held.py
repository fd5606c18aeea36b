"""What a cluster and its registry hold, before it ends: for people, who may not have thought of all of it."""

from __future__ import annotations

import re
from collections.abc import Collection

from provisioner.inventory.words import some
from provisioner.kube.kubectl import KUBECTL, rows
from provisioner.shell.quote import quote
from provisioner.shell.script import Script

_COUNTED = {
    "nodes": ("node", "nodes"),
    "namespaces": ("namespace", "namespaces"),
    "pods": ("pod", "pods"),
    "services": ("service", "services"),
    "persistentvolumeclaims": ("claim of a volume", "claims of volumes"),
    "secrets": ("secret", "secrets"),
    "configmaps": ("config map", "config maps"),
}
"""What is counted, and how one and several are called."""
_NAMED = "pods,deployments.apps,statefulsets.apps,daemonsets.apps,cronjobs.batch,persistentvolumeclaims"
_OWN = re.compile(
    r"kube-(system|public|node-lease|flannel)|calico-(system|apiserver)|tigera-operator|provision-.*"
)
"""Namespaces of the cluster's own."""
_MOST = 10
_COLUMNS = (".kind", ".metadata.namespace", ".metadata.name", ".metadata.ownerReferences[*].kind")


def held_script() -> Script:
    """To be run on a control plane; see `parse_held`. Only reads, and prints nothing where no API server answers."""
    return Script(f"""{KUBECTL} get --raw /readyz >/dev/null 2>&1 || exit 0
for each in {" ".join(_COUNTED)}; do
  number='?'
  if said=$({KUBECTL} get "$each" -A -o name 2>/dev/null); then number=$(printf '%s\\n' "$said" | grep -c .); fi
  printf 'count\\t%s\\t%s\\n' "$each" "$number"
done
{KUBECTL} get {_NAMED} -A -o jsonpath={quote(rows(_COLUMNS, "named"))} 2>/dev/null || printf 'unnamed\\t\\t\\t\\n'
""")


def parse_held(output: str) -> list[str]:
    """A line each."""
    rows = [line.split("\t") for line in output.splitlines()]
    counts = [
        f"{row[2]} {_COUNTED[row[1]][row[2].strip() != '1']}"
        for row in rows
        if row[0] == "count" and len(row) == 3 and row[1] in _COUNTED
    ]
    if not counts:
        return ["its API server does not answer: what it holds is not known"]
    named = [row[1:] for row in rows if row[0] == "named" and len(row) == 5 and not _OWN.fullmatch(row[2])]
    names = [f"{kind} {space}/{name}" for kind, space, name, owner in named if not (owner and kind == "Pod")]
    users = [f"among it, made by users: {some(names, _MOST)}"] if names else []
    if any(row[0] == "unnamed" for row in rows):
        users = ["what users have made of it cannot be asked"]
    return [", ".join(counts), *users]


def images_script(storage: str) -> Script:
    """Prints those of a registry, REPOSITORY:TAG, a line each."""
    folder = quote(f"{storage}/docker/registry/v2/repositories")
    return Script(
        f"cd {folder} 2>/dev/null || exit 0\n"
        "find . -type d -path '*/_manifests/tags/*' -prune -print | sed 's|^[.]/||;s|/_manifests/tags/|:|'\n"
    )


def parse_images(output: str, known: Collection[str]) -> str:
    """What goes with the registry; "" for nothing. `known` are those that a bundle brings again."""
    found = sorted({line for line in output.splitlines() if line})
    others = [each for each in found if each not in known]
    if not found:
        return ""
    rest = f"; the bundle does not have {some(others, _MOST)}" if others else ", all of which the bundle has"
    many = "1 image" if len(found) == 1 else f"{len(found)} images"
    return f"{many} in the registry{rest}"
