"""The traffic gate: pods of every node reach pods, services, node ports and the cluster's DNS.

Pods of agnhost, all taints tolerated, one `kubectl exec` a pod that asks. They live in a namespace of their own that
carries the run's label and is removed again; what a killed run left is removed first.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from provisioner.errors import ProvisionError
from provisioner.kube.check_objects import LABEL, PORT, ROLES, check_objects
from provisioner.kube.kubectl import KUBECTL, KUBECTL_WAITING
from provisioner.kube.objects import list_json
from provisioner.resources.model import Runner
from provisioner.shell.quote import quote
from provisioner.shell.script import Blob, Script

PATIENCE = 25
"""Seconds in which a target has to answer: DNS and service rules follow the pods by seconds on a new cluster."""

_COLUMNS = "O:.involvedObject.name,M:.message"


@dataclass(frozen=True)
class Pod:
    """`role` as in check_objects.ROLES; `addresses` one for each IP family."""

    name: str
    node: str
    role: str
    addresses: tuple[str, ...]


@dataclass(frozen=True)
class Target:
    """One thing to reach. `kind` is same-node, other-node, service, node-port or dns; `node` where it is, if it is on
    one."""

    kind: str
    address: str
    node: str = ""


@dataclass(frozen=True)
class Broken:
    """A target that did not answer, and what the asking pod said."""

    asker: Pod
    target: Target
    said: str


@dataclass(frozen=True)
class TrafficCheck:
    """What is checked: `image` of agnhost, the nodes' addresses by name, the cluster's DNS domain."""

    image: str
    nodes: Mapping[str, str]
    domain: str
    run: str

    @property
    def namespace(self) -> str:
        return f"provision-check-{re.sub('[^a-z0-9]', '', self.run.lower())[-10:]}"

    def __call__(self, runner: Runner) -> str:
        """How many connections work, in words. Raises ProvisionError with every pair that does not talk."""
        try:
            pods, services = self._set_up(runner)
            wishes = {pod: self._targets(pod, pods, services) for pod in pods if pod.role != "answerer"}
            broken = self._ask(runner, wishes)
        finally:
            self._clean(runner)
        if broken:
            raise _failure(broken)
        count = sum(len(targets) for targets in wishes.values())
        return f"{count} connections between {len(self.nodes)} nodes: pods, services, node ports, DNS"

    def _set_up(self, runner: Runner) -> tuple[list[Pod], dict[str, Any]]:
        kubectl = f"{KUBECTL} -n {self.namespace}"
        script = f"""
{KUBECTL} delete namespace -l '{LABEL},{LABEL}!={self.run}' --wait=false >/dev/null 2>&1 &
{KUBECTL} create --validate=false -f "$W/objects.json" >/dev/null || exit 1
if ! {KUBECTL_WAITING} -n {self.namespace} rollout status --timeout=120s daemonset -l {LABEL} >"$W/out" 2>&1; then
  tail -n 2 "$W/out" >&2
  {kubectl} get pods -o wide >&2
  {kubectl} get events --field-selector=type=Warning -o custom-columns={_COLUMNS} >&2
  exit 1
fi
{kubectl} get pods,services -o json
wait
"""
        objects = check_objects(self.namespace, self.run, self.image)
        result = runner.run(Script(script, {"objects.json": Blob.of(list_json(objects))}), deadline=420)
        if result.status != 0:
            raise ProvisionError(f"the pods of the traffic check did not start:\n{_tail(result.stderr)}")
        items = json.loads(result.stdout)["items"]
        alive = [
            item for item in items if item["kind"] == "Pod" and "deletionTimestamp" not in item["metadata"]
        ]
        services = {item["metadata"]["name"]: item["spec"] for item in items if item["kind"] == "Service"}
        pods = [_pod(item) for item in alive]
        there = {(pod.node, pod.role) for pod in pods}
        missing = [f"{role} on {node}" for node in self.nodes for role in ROLES if (node, role) not in there]
        if missing:
            raise ProvisionError(
                f"pods of the traffic check are missing: {', '.join(missing)}",
                "is every node registered, and may DaemonSets run there?",
            )
        return [pod for pod in pods if pod.node in self.nodes], services

    def _targets(self, pod: Pod, pods: Sequence[Pod], services: Mapping[str, Any]) -> list[Target]:
        port = int(services["node-port"]["ports"][0]["nodePort"])
        others = {name: address for name, address in self.nodes.items() if name != pod.node} or self.nodes
        ports = [Target("node-port", _endpoint(address, port), name) for name, address in others.items()]
        service = Target("service", _endpoint(services["cluster-ip"]["clusterIP"], 80))
        if pod.role == "host":
            return [*ports, service]
        direct = [
            Target(
                "same-node" if each.node == pod.node else "other-node", _endpoint(address, PORT), each.node
            )
            for each in pods
            if each.role == "answerer"
            for address in each.addresses
        ]
        return [*direct, service, *ports, Target("dns", f"cluster-ip.{self.namespace}.svc.{self.domain}:80")]

    def _ask(self, runner: Runner, wishes: Mapping[Pod, Sequence[Target]]) -> list[Broken]:
        lines = []
        for index, (pod, targets) in enumerate(wishes.items()):
            line = f"{KUBECTL_WAITING} -n {self.namespace} exec {quote(pod.name)} -- /bin/sh -c "
            lines.append(f'({line}{quote(_inner_script(targets))} >"$W/{index}" 2>&1) </dev/null &')
        lines.append("wait")
        lines += [f'sed "s/^/{index} /" "$W/{index}"' for index in range(len(wishes))]
        result = runner.run(Script("\n".join(lines) + "\n"), deadline=180)
        said: dict[int, list[str]] = {}
        for text in result.stdout.decode(errors="replace").splitlines():
            number, _, rest = text.partition(" ")
            said.setdefault(int(number), []).append(rest)
        answers = ((pod, targets, said.get(index, [])) for index, (pod, targets) in enumerate(wishes.items()))
        return [broken for pod, targets, texts in answers for broken in _judge(pod, targets, texts)]

    def _clean(self, runner: Runner) -> None:
        """Waits for the pods to go, not for the namespace: its controller lets 5 s pass before it looks
        (namespaceDeletionGracePeriod in kube-controller-manager)."""
        script = f"""
{KUBECTL} -n {self.namespace} delete daemonset,service --all --wait=false >/dev/null 2>&1
n=0
while [ "$n" -lt 50 ] && [ -n "$({KUBECTL} -n {self.namespace} get pods -o name 2>/dev/null)" ]; do
  n=$((n + 1))
  sleep 0.1
done
{KUBECTL} delete namespace {self.namespace} --ignore-not-found --wait=false >/dev/null
"""
        runner.run(Script(script), deadline=90)


def _pod(item: Mapping[str, Any]) -> Pod:
    addresses = tuple(each["ip"] for each in item["status"]["podIPs"])
    return Pod(
        item["metadata"]["name"], item["spec"]["nodeName"], item["metadata"]["labels"]["role"], addresses
    )


def _judge(pod: Pod, targets: Sequence[Target], texts: Sequence[str]) -> list[Broken]:
    """Every target needs a line "ok KIND ADDRESS"; silence is a failure, too."""
    good = {text for text in texts if text.startswith("ok ")}
    rest = "; ".join(dict.fromkeys(text for text in texts if not text.startswith(("ok ", "bad "))))
    told = {
        " ".join(text.split(" ")[1:3]): text.split(" ", 3)[-1] for text in texts if text.startswith("bad ")
    }
    return [
        Broken(pod, target, told.get(f"{target.kind} {target.address}", rest or "no answer"))
        for target in targets
        if f"ok {target.kind} {target.address}" not in good
    ]


def _failure(broken: Sequence[Broken]) -> ProvisionError:
    lines = []
    for each in broken[:20]:
        source = f"{each.asker.node} ({'host' if each.asker.role == 'host' else 'pod'})"
        place = f" on {each.target.node}" if each.target.node else ""
        lines.append(f"  {source} → {each.target.kind} {each.target.address}{place}: {each.said}")
    if len(broken) > 20:
        lines.append(f"  and {len(broken) - 20} more")
    return ProvisionError(
        f"{len(broken)} connections do not work:\n" + "\n".join(lines),
        "the cluster is up but its network is not: look at the network plug-in's pods and the hosts' firewalls",
    )


def _inner_script(targets: Iterable[Target]) -> str:
    """Runs in the pod: all targets at once, one line for each."""
    calls = "\n".join(f"check {each.kind} {each.address} &" for each in targets)
    return f"""end=$(($(date +%s) + {PATIENCE}))
check() {{
  until m=$(timeout 5 /agnhost connect --timeout=2s "$2" 2>&1); do
    if [ "$(date +%s)" -ge "$end" ]; then echo "bad $1 $2 ${{m:-no answer within 5 s}}"; return; fi
    sleep 0.3
  done
  echo "ok $1 $2"
}}
{calls}
wait
"""


def _endpoint(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _tail(stderr: bytes) -> str:
    return "\n".join(stderr.decode(errors="replace").strip().splitlines()[-15:])
