"""The module `node_joined`: a node that is registered, with its labels and taints. Conducts the TLS bootstrap."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from provisioner.errors import ProvisionError
from provisioner.kube.kubectl import KUBECTL
from provisioner.kube.requests import SIGNER, is_pending, objection, requested_node
from provisioner.kube.token import GROUP, BootstrapToken
from provisioner.resources.model import Absent, Change, Plain, Present, Resource, Runner, State
from provisioner.resources.task import TaskCall
from provisioner.shell.assemble import parse_probes, probe_script
from provisioner.shell.quote import quote, words
from provisioner.shell.script import Script
from provisioner.shell.worklock import LOCK_SECONDS, locked

DEADLINE = 120.0
"""Seconds from the kubelets' start to the last node's registration."""

_COLUMNS = '{.metadata.name}{"\\t"}{.metadata.labels}{"\\t"}{.spec.taints}{"\\n"}'
_NODES = f"{KUBECTL} get nodes -o jsonpath='{{range .items[*]}}{_COLUMNS}{{end}}'"


_REQUESTS = f"{KUBECTL} get csr --field-selector=spec.signerName={SIGNER} -o json"


class NodeJoinedKind:
    """Attributes: `label:KEY` and `taint:KEY:EFFECT` with their values, of those that are wanted.

    A node whose kubelet has no identity (`joining`) counts as absent until a request by this run's token was granted,
    though its object may be there from a former life.
    """

    name = "node_joined"

    def __init__(self, token: BootstrapToken) -> None:
        self._token = token

    def build(self, task: TaskCall) -> Sequence[Resource]:
        task.check({"name": str}, {"labels": Mapping, "taints": (list, tuple), "joining": bool})
        attrs: dict[str, Plain] = {f"label:{k}": str(v) for k, v in (task.args.get("labels") or {}).items()}
        for taint in task.args.get("taints") or []:
            attrs[f"taint:{taint.key}:{taint.effect}"] = taint.value
        spec = {"joining": bool(task.args.get("joining"))}
        return [Resource("node_joined", str(task.args["name"]), Present(attrs), spec)]

    def probe(self, resources: Sequence[Resource]) -> Script:
        joining = any(each.spec["joining"] for each in resources)
        return Script(_NODES + "\n" + (f"echo ==\n{_REQUESTS}\n" if joining else ""))

    def parse(self, output: bytes, resources: Sequence[Resource]) -> Mapping[str, State]:
        nodes, _, requests = output.partition(b"==\n")
        granted = self._granted(json.loads(requests or b'{"items": []}')["items"])
        found = {}
        for line in nodes.decode(errors="replace").splitlines():
            name, labels, taints = [*line.split("\t"), "", ""][:3]
            attrs: dict[str, Plain] = {f"label:{k}": str(v) for k, v in json.loads(labels or "{}").items()}
            for taint in json.loads(taints or "[]"):
                attrs[f"taint:{taint['key']}:{taint['effect']}"] = str(taint.get("value") or "")
            found[name] = attrs
        joined = {
            each.name for each in resources if each.name in granted or not each.spec["joining"]
        } & found.keys()
        return {each.id: Present(found[each.name]) if each.name in joined else Absent() for each in resources}

    def _granted(self, requests: Sequence[Mapping[str, Any]]) -> set[str]:
        """Nodes that this run's token has brought a certificate."""
        ours = (item for item in requests if item["spec"].get("username") == self._token.user)
        return {requested_node(item) for item in ours if (item.get("status") or {}).get("certificate")}

    def conduct(self, changes: Sequence[Change], runner: Runner) -> None:
        """Approves the requests of the joining nodes, waits until all are registered, sets labels and taints."""
        joining = {change.resource.name for change in changes if not isinstance(change.before, Present)}
        asking = {change.resource.name for change in changes if change.resource.spec["joining"]}
        if joining:
            self._admit(joining, asking, runner)
        lines = [line for change in changes for line in _marks(change.resource)]
        if lines:
            _ask(runner, locked("\n".join(["set -e", *lines])) + "\n")

    def _admit(self, joining: set[str], asking: set[str], runner: Runner) -> None:
        end = time.monotonic() + DEADLINE
        refused: dict[str, str] = {}
        missing = set(joining)
        while missing:
            requests = json.loads(_ask(runner, f"{_REQUESTS}\n"))["items"]
            good = []
            for item in requests:
                reason = objection(item, asking, self._token.user, GROUP)
                if is_pending(item) and not reason:
                    good.append(item["metadata"]["name"])
                elif reason and requested_node(item) in joining:
                    refused[requested_node(item)] = reason
            if good:
                _ask(runner, locked(f"{KUBECTL} certificate approve {words(good)} >/dev/null") + "\n")
            names = _ask(runner, f"{KUBECTL} get nodes -o jsonpath='{{.items[*].metadata.name}}'\n")
            missing = joining - set(names.decode().split()) | asking - self._granted(requests)
            if missing and time.monotonic() > end:
                raise _timeout(missing, refused)
            if missing:
                time.sleep(0.3)


def _timeout(missing: set[str], refused: Mapping[str, str]) -> ProvisionError:
    told = "; ".join(
        f"{node}: its request was left alone: {reason}" for node, reason in sorted(refused.items())
    )
    reason = f"{', '.join(sorted(missing))} did not register within {DEADLINE:.0f} s" + (
        f" ({told})" if told else ""
    )
    return ProvisionError(reason, "see `journalctl -u kubelet` on the host")


def _marks(resource: Resource) -> list[str]:
    attrs: Mapping[str, Any] = resource.desired.attrs if isinstance(resource.desired, Present) else {}
    node = quote(resource.name)
    labels = [
        f"{key.removeprefix('label:')}={value}" for key, value in attrs.items() if key.startswith("label:")
    ]
    taints = [
        f"{key.split(':')[1]}={value}:{key.split(':')[2]}"
        for key, value in attrs.items()
        if key.startswith("taint:")
    ]
    lines = []
    if labels:
        lines.append(f"{KUBECTL} label --overwrite node {node} {words(labels)} >/dev/null")
    if taints:
        lines.append(f"{KUBECTL} taint --overwrite node {node} {words(taints)} >/dev/null")
    return lines


def _ask(runner: Runner, script: str) -> bytes:
    result = runner.run(probe_script([Script(script)]), deadline=60 + LOCK_SECONDS)
    answer = parse_probes(result.stdout).get(0)
    if answer is None or answer.status != 0:
        said = (answer.stderr if answer else result.stderr).decode(errors="replace").strip()
        raise ProvisionError(f"{runner.host}: kubectl failed: {said[-400:]}")
    return answer.stdout
