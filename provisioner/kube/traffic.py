"""The traffic gate: pods of every node reach pods, services, node ports and the cluster's DNS.

Two DaemonSets of agnhost on the pod network and one on the hosts' own, all taints tolerated; one `kubectl exec` a pod
that asks. Everything lives in one namespace of its own that carries the run's label and is removed again; what a killed
run left is removed first.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from provisioner.errors import ProvisionError
from provisioner.kube.kubectl import KUBECTL, KUBECTL_WAITING
from provisioner.kube.objects import list_json
from provisioner.resources.model import Runner
from provisioner.shell.quote import quote
from provisioner.shell.script import Blob, Script

LABEL = "provision.dev/check"
_PORT = 8080
_COLUMNS = "O:.involvedObject.name,M:.message"
_TRIES = 8


@dataclass(frozen=True)
class Target:
    """One thing to reach: `kind` of same-node, other-node, service, node-port, dns."""

    kind: str
    address: str


@dataclass(frozen=True)
class TrafficCheck:
    """What is checked: `image` of agnhost, the nodes' addresses by name, the cluster's DNS domain."""

    image: str
    nodes: dict[str, str]
    domain: str
    run: str

    @property
    def namespace(self) -> str:
        return f"provision-check-{re.sub('[^a-z0-9-]', '', self.run.lower())[-12:]}"

    def __call__(self, runner: Runner) -> str:
        """The number of checks, in words. Raises ProvisionError with every pair that does not talk."""
        try:
            pods, addresses = self._set_up(runner)
            return self._judge(self._ask(runner, pods, addresses), pods)
        finally:
            self._clean(runner)

    def _set_up(self, runner: Runner) -> tuple[list[dict[str, Any]], dict[str, str]]:
        script = f"""
{KUBECTL} delete namespace -l '{LABEL},{LABEL}!={self.run}' --wait=false >/dev/null 2>&1 &
{KUBECTL} create --validate=false -f "$W/objects.json" >/dev/null || exit 1
if ! {KUBECTL_WAITING} -n {self.namespace} rollout status --timeout=120s daemonset -l {LABEL} >"$W/out" 2>&1; then
  tail -n 2 "$W/out" >&2
  {KUBECTL} -n {self.namespace} get pods -o wide >&2
  {KUBECTL} -n {self.namespace} get events --field-selector=type=Warning -o custom-columns={_COLUMNS} >&2
  exit 1
fi
{KUBECTL} -n {self.namespace} get pods,services -o json
wait
"""
        payload = {"objects.json": Blob.of(list_json(self._objects()))}
        result = runner.run(Script(script, payload), deadline=420)
        if result.status != 0:
            raise ProvisionError(f"the pods of the traffic check did not start:\n{_tail(result.stderr)}")
        items = json.loads(result.stdout)["items"]
        pods = [item for item in items if item["kind"] == "Pod" and "deletionTimestamp" not in item["metadata"]]
        services = {item["metadata"]["name"]: item for item in items if item["kind"] == "Service"}
        port = services["node-port"]["spec"]["ports"][0]["nodePort"]
        return pods, {"service": services["cluster-ip"]["spec"]["clusterIP"], "node-port": str(port)}

    def _targets(self, pod: dict[str, Any], pods: Sequence[dict[str, Any]], addresses: dict[str, str]) -> list[Target]:
        node, role = pod["spec"]["nodeName"], pod["metadata"]["labels"]["role"]
        ports = [
            Target("node-port", _endpoint(address, int(addresses["node-port"])))
            for name, address in self.nodes.items()
            if name != node or len(self.nodes) == 1
        ]
        service = Target("service", _endpoint(addresses["service"], 80))
        if role == "host":
            return [*ports, service]
        others = [each for each in pods if each["metadata"]["labels"]["role"] == "answerer"]
        direct = [
            Target("same-node" if each["spec"]["nodeName"] == node else "other-node", _endpoint(ip["ip"], _PORT))
            for each in others
            for ip in each["status"]["podIPs"]
        ]
        name = f"cluster-ip.{self.namespace}.svc.{self.domain}:80"
        return [*direct, service, *ports, Target("dns", name)]

    def _ask(
        self, runner: Runner, pods: Sequence[dict[str, Any]], addresses: dict[str, str]
    ) -> dict[str, tuple[str, str]]:
        """Lines "ok|bad KIND ADDRESS" with what was said, by "pod|target"."""
        askers = [pod for pod in pods if pod["metadata"]["labels"]["role"] in {"asker", "host"}]
        lines = []
        for index, pod in enumerate(askers):
            inner = _inner_script(self._targets(pod, pods, addresses))
            name = quote(pod["metadata"]["name"])
            exec_line = f"{KUBECTL} -n {self.namespace} exec {name} -- /bin/sh -c {quote(inner)}"
            lines.append(f'({exec_line} >"$W/{index}.out" 2>"$W/{index}.err") </dev/null &')
        lines.append("wait")
        lines += [
            f'sed "s/^/{index} /" "$W/{index}.out"; grep -v "exit code" "$W/{index}.err" | sed "s/^/{index} said /" || :'
            for index in range(len(askers))
        ]
        result = runner.run(Script("\n".join(lines) + "\n"), deadline=120)
        answers: dict[str, tuple[str, str]] = {}
        for line in result.stdout.decode(errors="replace").splitlines():
            number, _, rest = line.partition(" ")
            pod = askers[int(number)]
            answers[f"{pod['spec']['nodeName']}/{pod['metadata']['labels']['role']}|{rest}"] = (number, rest)
        for index, pod in enumerate(askers):
            for target in self._targets(pod, pods, addresses):
                key = f"{pod['spec']['nodeName']}/{pod['metadata']['labels']['role']}"
                good = f"{key}|ok {target.kind} {target.address}"
                if good not in answers:
                    answers[f"{key}|missing {target.kind} {target.address}"] = (str(index), "bad")
        return answers

    def _judge(self, answers: dict[str, tuple[str, str]], pods: Sequence[dict[str, Any]]) -> str:
        where = {each["podIP"]: pod["spec"]["nodeName"] for pod in pods for each in [pod["status"]] if "podIP" in each}
        bad = [key for key in answers if "|missing " in key]
        if not bad:
            good = sum(1 for key in answers if "|ok " in key)
            return f"{good} connections between {len(self.nodes)} nodes: pods, services, node ports, DNS"
        lines = []
        for key in bad:
            source, _, rest = key.partition("|missing ")
            kind, _, address = rest.partition(" ")
            there = where.get(address.rpartition(":")[0].strip("[]"), "")
            lines.append(f"  {source} → {kind} {address}" + (f" (on {there})" if there else ""))
        said = sorted({rest.removeprefix("said ") for _, rest in answers.values() if rest.startswith("said ")})
        told = "\n".join([*lines[:20], *(f"  {line}" for line in said[:5])])
        raise ProvisionError(
            f"{len(bad)} connections do not work:\n{told}",
            "the cluster is up but its network is not: look at the network plug-in's pods and the hosts' firewalls",
        )

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

    def _objects(self) -> list[dict[str, Any]]:
        labels = {LABEL: self.run}
        space = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": self.namespace,
                "labels": {**labels, "pod-security.kubernetes.io/enforce": "privileged"},
            },
        }
        serve = ["netexec", f"--http-port={_PORT}"]
        return [
            space,
            self._daemon_set("asker", ["pause"], host=False),
            self._daemon_set("answerer", serve, host=False),
            self._daemon_set("host", ["pause"], host=True),
            self._service("cluster-ip", "ClusterIP"),
            self._service("node-port", "NodePort"),
        ]

    def _daemon_set(self, role: str, args: list[str], *, host: bool) -> dict[str, Any]:
        labels = {"role": role, LABEL: self.run}
        pod: dict[str, Any] = {
            "hostNetwork": host,
            "dnsPolicy": "ClusterFirstWithHostNet" if host else "ClusterFirst",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 0,
            "tolerations": [{"operator": "Exists"}],
            "containers": [{"name": "agnhost", "image": self.image, "args": args, "imagePullPolicy": "IfNotPresent"}],
        }
        return {
            "apiVersion": "apps/v1",
            "kind": "DaemonSet",
            "metadata": {"name": role, "namespace": self.namespace, "labels": labels},
            "spec": {
                "selector": {"matchLabels": {"role": role}},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        }

    def _service(self, name: str, kind: str) -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "namespace": self.namespace, "labels": {LABEL: self.run}},
            "spec": {"type": kind, "selector": {"role": "answerer"}, "ports": [{"port": 80, "targetPort": _PORT}]},
        }


def _inner_script(targets: Iterable[Target]) -> str:
    calls = "\n".join(f"check {each.kind} {each.address} &" for each in targets)
    return f"""check() {{
  n=0
  until m=$(/agnhost connect --timeout=2s "$2" 2>&1); do
    n=$((n + 1))
    if [ $n -ge {_TRIES} ]; then echo "bad $1 $2 $m"; return; fi
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
