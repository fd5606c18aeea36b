"""The traffic gate: pods of every node reach pods, services, node ports and the cluster's DNS.

Pods of agnhost, all taints tolerated, one `kubectl exec` a pod that asks. They are removed again; what a killed run
left is removed first.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from provisioner.errors import ProvisionError
from provisioner.kube.check_objects import NAMESPACE, NODE_PORT, PORT, cluster_ip
from provisioner.kube.check_pods import CheckPods
from provisioner.kube.kubectl import KUBECTL_WAITING
from provisioner.resources.model import Runner
from provisioner.shell.quote import quote
from provisioner.shell.script import Script

PATIENCE = 45
"""Seconds in which a target has to answer: DNS and service rules follow the pods by seconds on a new cluster, and
CoreDNS takes up to that long to ask again after an API server was away."""


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
    touched: Collection[str] = ()
    """The nodes that this run is about, of `nodes`, the rest of which are there to talk with them: a connection between
    two of the others is not asked for, and further nodes are left alone. Empty: all."""

    @property
    def pods(self) -> CheckPods:
        """The objects that it makes, and takes away."""
        return CheckPods(self.run, self.image, tuple(self.nodes) if self.touched else ())

    def __call__(self, runner: Runner) -> str:
        """How many connections work, in words. Raises ProvisionError with every pair that does not talk, and when
        something of the check itself could not be removed."""
        try:
            said = self._prove(runner)
        except ProvisionError as fault:
            raise _joined(fault, self._left(runner)) from None
        except BaseException:  # interrupted: what was made still goes
            self._left(runner)
            raise
        left = self._left(runner)
        if left is not None:
            raise left
        return said

    def _prove(self, runner: Runner) -> str:
        items = self.pods.set_up(runner, list(self.nodes))
        services = {item["metadata"]["name"]: item["spec"] for item in items if item["kind"] == "Service"}
        every = [_pod(item) for item in items if item["kind"] == "Pod"]
        pods = [pod for pod in every if pod.node in self.nodes]
        wishes = {pod: self._targets(pod, pods, services) for pod in pods if pod.role != "answerer"}
        broken = self._ask(runner, wishes)
        if broken:
            raise _failure(broken)
        count = sum(len(targets) for targets in wishes.values())
        said = f"{count} connections between {len(self.nodes)} nodes: pods, services, node ports, DNS"
        return said + _strangers({pod.node for pod in every} - set(self.nodes))

    def _left(self, runner: Runner) -> ProvisionError | None:
        """Removes what was made; what came in the way of that."""
        try:
            self.pods.remove(runner)
        except ProvisionError as fault:
            return fault
        return None

    def _targets(self, pod: Pod, pods: Sequence[Pod], services: Mapping[str, Any]) -> list[Target]:
        port = int(services[NODE_PORT]["ports"][0]["nodePort"])
        others = {name: address for name, address in self.nodes.items() if name != pod.node} or self.nodes
        ports = [Target("node-port", _endpoint(address, port), name) for name, address in others.items()]
        name = cluster_ip(self.run)
        service = Target("service", _endpoint(services[name]["clusterIP"], 80))
        if pod.role == "host":
            return [*self._about(pod, ports), service]
        direct = [
            Target(
                "same-node" if each.node == pod.node else "other-node", _endpoint(address, PORT), each.node
            )
            for each in pods
            if each.role == "answerer"
            for address in each.addresses
        ]
        return [
            *self._about(pod, [*direct, *ports]),
            service,
            Target("dns", f"{name}.{NAMESPACE}.svc.{self.domain}:80"),
        ]

    def _about(self, pod: Pod, targets: Sequence[Target]) -> list[Target]:
        if not self.touched or pod.node in self.touched:
            return list(targets)
        return [each for each in targets if each.node in self.touched]

    def _ask(self, runner: Runner, wishes: Mapping[Pod, Sequence[Target]]) -> list[Broken]:
        lines = []
        for index, (pod, targets) in enumerate(wishes.items()):
            line = f"{KUBECTL_WAITING} -n {NAMESPACE} exec {quote(pod.name)} -- /bin/sh -c "
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


def _strangers(names: Iterable[str]) -> str:
    """The nodes that the inventory does not name: every node has the check's pods, so no other question is needed."""
    found = ", ".join(sorted(names))
    return f"; not in the inventory: {found}" if found else ""


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


def _joined(fault: ProvisionError, left: ProvisionError | None) -> ProvisionError:
    """Why the check failed and, behind it, what it could not remove."""
    if left is None or left.reason == fault.reason:
        return fault
    return type(fault)(f"{fault.reason}\n{left.reason}", "; ".join(filter(None, (fault.hint, left.hint))))


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
    """Runs in the pod: all targets at once, one line for each. nc starts in a tenth of agnhost's time, but resolves no
    names where busybox is linked statically."""
    calls = "\n".join(f"check {each.kind} {each.address} {_words(each)} &" for each in targets)
    return f"""end=$(($(date +%s) + {PATIENCE}))
reach() {{
  if [ "$1" = dns ]; then timeout 5 /agnhost connect --timeout=2s "$2"
  else timeout 5 nc -w 2 "$3" "$4" </dev/null >/dev/null
  fi
}}
check() {{
  until m=$(reach "$@" 2>&1); do
    if [ "$(date +%s)" -ge "$end" ]; then echo "bad $1 $2 ${{m:-no answer within 5 s}}"; return; fi
    sleep 0.3
  done
  echo "ok $1 $2"
}}
{calls}
wait
"""


def _words(target: Target) -> str:
    """Host and port of the target as two words."""
    host, _, port = target.address.rpartition(":")
    return f"{host.strip('[]')} {port}"


def _endpoint(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
