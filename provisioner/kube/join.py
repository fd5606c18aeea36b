"""The module `node_joined`: a node that is registered, with its labels and taints. Conducts the TLS bootstrap."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from provisioner.engine.events import Emit, Note, silent
from provisioner.errors import ProvisionError
from provisioner.kube.kubectl import KUBECTL, PROBING
from provisioner.kube.marks import (
    GET_RECORD,
    NOTE,
    ask,
    marks_of,
    node_marks,
    note_line,
    parse_record,
    without,
)
from provisioner.kube.requests import SIGNER, is_pending, objection, requested_node
from provisioner.kube.token import GROUP, BootstrapToken
from provisioner.resources.model import Absent, Change, Plain, Present, Resource, Runner, State, Unknown
from provisioner.resources.task import TaskCall
from provisioner.shell.quote import quote, words
from provisioner.shell.script import Script
from provisioner.shell.worklock import locked

DEADLINE = 120.0
"""Seconds from the kubelets' start to the last node's registration."""


def _fields(*fields: str) -> str:
    """A line for each node, its fields separated by tabs: the name, which is a DNS name, and JSON, in which neither tab
    nor newline can be."""
    row = r'{"\t"}'.join(fields) + r'{"\n"}'
    return f"-o jsonpath={quote('{range .items[*]}' + row + '{end}')}"


_NODES = f"get nodes {_fields('{.metadata.name}', '{.metadata.labels}', '{.spec.taints}')}"
_REQUESTS = f"get csr --field-selector=spec.signerName={SIGNER} -o json"
_LEASES = f"-n kube-node-lease get leases {_fields('{.metadata.name}', '{.spec.renewTime}')}"


class NodeJoinedKind:
    """Attributes: `label:KEY` and `taint:KEY:EFFECT` with their values, and `marks`, the names of those that are on
    record as ours. What left the spec is a resource of its own beside it (marks.py), in the same stage: a taint that
    nobody tolerates has to go before the network's pods are waited for.

    A node whose kubelet has no identity (`joining`) counts as absent though its object may be there from a former life:
    until a request by this run's token was granted, or the kubelet renews its lease, with an identity that a run which
    was killed had approved.

    What a node can do here once its host is taken over: register with labels and taints of its own choice, and change
    its labels later, but for those that Kubernetes keeps from kubelets (node-restriction.kubernetes.io/ among them;
    admission plugin NodeRestriction). What is wanted the next run sets again; what else it has added is somebody's and
    stays. It cannot write what is ours, nor of other nodes.
    """

    name = "node_joined"

    def __init__(self, token: BootstrapToken, emit: Emit = silent) -> None:
        """`emit` is told of requests that are left alone."""
        self._token = token
        self._emit = emit
        self._alive: set[str] = set()

    def build(self, task: TaskCall) -> Sequence[Resource]:
        task.check({"name": str}, {"labels": Mapping, "taints": (list, tuple), "joining": bool})
        attrs: dict[str, Plain] = {f"label:{k}": str(v) for k, v in (task.args.get("labels") or {}).items()}
        for taint in task.args.get("taints") or []:
            attrs[f"taint:{taint.key}:{taint.effect}"] = taint.value
        attrs["marks"] = _names(marks_of(attrs))
        spec = {"joining": bool(task.args.get("joining"))}
        joined = Resource("node_joined", str(task.args["name"]), Present(attrs), spec)
        return [joined, node_marks(joined)]

    def probe(self, resources: Sequence[Resource]) -> Script:
        asked = [_NODES, GET_RECORD]
        if any(each.spec["joining"] for each in resources):
            asked.append(_REQUESTS)
        # Together or not at all: no answer must not pass for no nodes.
        return Script(PROBING + " && printf '\\n==\\n' && ".join(f"probing {each}" for each in asked) + "\n")

    def parse(self, output: bytes, resources: Sequence[Resource]) -> Mapping[str, State]:
        nodes, record, requests = [*output.split(b"\n==\n"), b"", b""][:3]
        granted = self._granted(json.loads(requests or b'{"items": []}')["items"])
        marks = parse_record(record)
        found = {}
        for line in nodes.decode(errors="replace").split("\n"):
            name, labels, taints = [*line.split("\t"), "", ""][:3]
            attrs: dict[str, Plain] = {f"label:{k}": str(v) for k, v in json.loads(labels or "{}").items()}
            for taint in json.loads(taints or "[]"):
                attrs[f"taint:{taint['key']}:{taint['effect']}"] = str(taint.get("value") or "")
            found[name] = attrs
        joined = {
            each.name for each in resources if each.name in granted or not each.spec["joining"]
        } & found.keys()
        return {
            each.id: Present({**found[each.name], "marks": _noted(each, marks.get(each.name, ()))})
            if each.name in joined
            else Absent()
            for each in resources
        }

    def _granted(self, requests: Sequence[Mapping[str, Any]]) -> set[str]:
        """Nodes that this run's token has brought a certificate, and those that were seen alive."""
        ours = (item for item in requests if item["spec"].get("username") == self._token.user)
        return self._alive | {
            requested_node(item) for item in ours if (item.get("status") or {}).get("certificate")
        }

    def conduct(self, changes: Sequence[Change], runner: Runner) -> None:
        """Approves the requests of the joining nodes, waits until all are registered, sets labels and taints."""
        joining = {change.resource.name for change in changes if not isinstance(change.before, Present)}
        asking = {change.resource.name for change in changes if change.resource.spec["joining"]}
        if joining:
            self._admit(joining, asking, runner)
        noted = parse_record(ask(runner, f"{KUBECTL} {GET_RECORD}\n"))
        lines = [line for change in changes for line in _mark(change, noted.get(change.resource.name, ()))]
        if lines:
            ask(runner, locked("\n".join(["set -e", NOTE, *lines])) + "\n")

    def _admit(self, joining: set[str], asking: set[str], runner: Runner) -> None:
        """Waits until all are registered."""
        end = time.monotonic() + DEADLINE
        missing = set(joining)
        judged: list[tuple[Mapping[str, Any], str]] = []
        leases: dict[str, str] = {}
        while missing:
            requests = json.loads(ask(runner, f"{KUBECTL} {_REQUESTS}\n"))["items"]
            objections = [objection(item, asking, self._token.user, GROUP) for item in requests]
            judged = list(zip(requests, objections, strict=True))
            good = [item["metadata"]["name"] for item, reason in judged if is_pending(item) and not reason]
            if good:
                ask(runner, locked(f"{KUBECTL} certificate approve {words(good)} >/dev/null") + "\n")
            names = ask(runner, f"{KUBECTL} get nodes -o name\n").decode().split()
            registered = {each.removeprefix("node/") for each in names}
            missing = joining - registered | asking - self._granted(requests)
            # Who still asks has no identity, whoever may renew the lease of that name.
            quiet = missing & registered - {requested_node(item) for item in requests if is_pending(item)}
            if quiet:
                now = _parse_leases(ask(runner, f"{KUBECTL} {_LEASES}\n"))
                self._alive |= {
                    name for name in quiet & leases.keys() & now.keys() if now[name] != leases[name]
                }
                leases = {**now, **leases}
            if missing and time.monotonic() > end:
                raise _timeout(missing, {requested_node(item): reason for item, reason in judged if reason})
            if missing:
                time.sleep(0.3)
        # Only now: a request that a controller was just about to approve was none to speak of.
        for item, reason in judged:
            if reason and is_pending(item):
                self._emit(_left_alone(item, reason))


def _left_alone(item: Mapping[str, Any], reason: str) -> Note:
    name = item["metadata"]["name"]
    return Note(
        level="warning",
        message=f"the certificate request {name} was left alone: {reason}",
        hint=f"find out who sent it; `kubectl delete csr {name}` takes it away, else it goes after a day",
    )


def _timeout(missing: set[str], refused: Mapping[str, str]) -> ProvisionError:
    told = "; ".join(
        f"{node}: its request was left alone: {reason}"
        for node, reason in sorted(refused.items())
        if node in missing
    )
    reason = f"{', '.join(sorted(missing))} did not register within {DEADLINE:.0f} s" + (
        f" ({told})" if told else ""
    )
    return ProvisionError(reason, "see `journalctl -u kubelet` on the host")


def _parse_leases(output: bytes) -> dict[str, str]:
    """When each node's kubelet has last said that it is alive, which it does every ten seconds."""
    return dict(line.split("\t", 1) for line in output.decode().splitlines() if "\t" in line)


def _names(marks: frozenset[str]) -> str:
    return " ".join(sorted(marks))


def _noted(resource: Resource, record: Sequence[str]) -> str:
    """Which of the wanted are on record."""
    wanted = resource.desired.attrs if isinstance(resource.desired, Present) else {}
    return _names(marks_of(wanted) & set(record))


def _mark(change: Change, noted: Sequence[str]) -> list[str]:
    """The commands that set what is wanted, and then note that it is ours beside what was `noted`. Where nobody knew
    before what that is, nothing was planned for what left: it is taken away here."""
    resource = change.resource
    attrs = resource.desired.attrs if isinstance(resource.desired, Present) else {}
    node = quote(resource.name)
    labels = [f"{key[6:]}={value}" for key, value in attrs.items() if key.startswith("label:")]
    taints = [
        "{1}={0}:{2}".format(value, *key.split(":")[1:])
        for key, value in attrs.items()
        if key.startswith("taint:")
    ]
    lines = []
    if labels:
        lines.append(f"{KUBECTL} label --overwrite node {node} {words(labels)} >/dev/null")
    if taints:
        lines.append(f"{KUBECTL} taint --overwrite node {node} {words(taints)} >/dev/null")
    wanted, ours = marks_of(attrs), set(noted)
    if isinstance(change.before, Unknown):
        lines += without(resource.name, sorted(ours - wanted))
        ours &= wanted
    if wanted | ours != set(noted):
        lines.append(note_line(resource.name, wanted | ours))
    return lines
