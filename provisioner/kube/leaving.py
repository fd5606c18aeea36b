"""How a node leaves the cluster: no new pods, the old ones evicted as their budgets allow, then its object goes."""

from __future__ import annotations

import json

from provisioner.errors import ProvisionError
from provisioner.kube.kubectl import KUBECTL, KUBECTL_WAITING
from provisioner.kube.marks import RECORD, ask
from provisioner.resources.model import Runner
from provisioner.shell.quote import quote
from provisioner.shell.script import Script
from provisioner.shell.worklock import locked


def is_node(runner: Runner, name: str) -> bool:
    """Raises ProvisionError when the API server does not answer."""
    return bool(ask(runner, f"{KUBECTL} get node {quote(name)} --ignore-not-found -o name\n").strip())


def drain(runner: Runner, name: str, *, seconds: int, force: bool) -> None:
    """Cordons the node and evicts its pods, but for those of DaemonSets; what they have in emptyDir volumes goes.

    Evictions wait for the pods' disruption budgets, `seconds` at most. `force` also deletes pods that no controller
    makes anew. Raises ProvisionError with what kubectl said last; the node stays cordoned then.
    """
    options = f"--ignore-daemonsets --delete-emptydir-data --timeout={seconds}s{' --force' * force}"
    script = Script(locked(f"{KUBECTL_WAITING} drain {quote(name)} {options} >/dev/null") + "\n")
    result = runner.run(script, deadline=seconds + 60)
    if result.status != 0:
        said = result.stderr.decode(errors="replace").strip().splitlines()
        held = list(dict.fromkeys(line for line in said if "Cannot evict" in line))
        told = "\n".join((held or [line for line in said if not line.startswith("Warning: ")])[-8:])[-1500:]
        raise ProvisionError(
            f"{name}: not all of its pods could be evicted within {seconds} s:\n{told}",
            "`kubectl get poddisruptionbudgets -A` shows what holds them; --force deletes those that nothing makes"
            f" anew; `kubectl uncordon {name}` lets pods in again",
        )


def delete_node(runner: Runner, name: str) -> None:
    """Deletes the node's object, with which its pods' go, and what is on record of its labels and taints."""
    patch = quote(json.dumps({"data": {name: None}}))
    lines = (
        f"{KUBECTL} delete node {quote(name)} --ignore-not-found >/dev/null\n"
        f"{KUBECTL} -n kube-system patch configmap {RECORD} --type merge -p {patch} >/dev/null 2>&1 || :"
    )
    ask(runner, locked(lines) + "\n")
