"""What a change of the pod network may touch beside pods' addresses: policies, budgets, what pods have of their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from provisioner.kube import check_objects, exchange_objects
from provisioner.kube.kubectl import KUBECTL, rows
from provisioner.kube.marks import ask
from provisioner.resources.model import Runner
from provisioner.shell.quote import quote, words

_CALICO = tuple(
    f"{each}.crd.projectcalico.org"
    for each in (
        "tiers",
        "globalnetworkpolicies",
        "networkpolicies",
        "globalnetworksets",
        "networksets",
        "hostendpoints",
        "stagednetworkpolicies",
        "stagedglobalnetworkpolicies",
        "stagedkubernetesnetworkpolicies",
        "bgpconfigurations",
        "bgpfilters",
        "bgppeers",
        "felixconfigurations",
        "ipreservations",
    )
)
"""Not those that hold what it makes by itself alone (blocks, what is known of nodes), nor pools, which are the
inventory's, nor kubecontrollersconfigurations: of them one counts, which its controllers make at their start, before
another could be created. Later releases' manifests bring more of them than 3.28's: staged policies. Administrators'
policies are no kinds of Calico's: their definitions stay, and so do they (objects.of_kubernetes)."""
OWN = {
    "calico": _CALICO,
    "canal": _CALICO,
    "cilium": ("ciliumnetworkpolicies.cilium.io", "ciliumclusterwidenetworkpolicies.cilium.io"),
}
"""Kinds that users make themselves, by the plug-in that goes and takes their definitions with it."""
_MADE_BY_CALICO = "-auto-hep"
"""How the names of host endpoints end that its controllers make by themselves (Calico 3.28, kube-controllers)."""
_MADE = {
    "Tier": ("default", "adminnetworkpolicy", "baselineadminnetworkpolicy", "kube-admin", "kube-baseline"),
    "FelixConfiguration": ("default",),
    "BGPConfiguration": ("default",),
}
"""Others that it makes by itself (Calico 3.28 to 3.32), or that every spec with BGP makes, and that stay there when it
is VXLAN again."""
_OURS = frozenset({check_objects.NAMESPACE, exchange_objects.NAMESPACE})
"""Namespaces with policies of the tool's own."""
_ASKED = {
    "policy": ("networkpolicies.networking.k8s.io", (".metadata.namespace", ".metadata.name")),
    "budget": (
        "poddisruptionbudgets.policy",
        (".metadata.namespace", ".metadata.name", ".status.disruptionsAllowed"),
    ),
    "pod": ("pods", (".metadata.namespace", ".metadata.name", ".spec.volumes[*].emptyDir")),
    "workload": (
        "deployments.apps,statefulsets.apps",
        (
            ".kind",
            ".metadata.namespace",
            ".metadata.name",
            ".spec.replicas",
            ".spec.strategy.rollingUpdate.maxSurge",
        ),
    ),
}


@dataclass(frozen=True)
class AtStake:
    """`policies` by namespace; `own` are a plug-in's own ("KIND NAME"); `held` are budgets that allow no eviction now,
    of `budgets`; `scratch` are pods with an emptyDir, (namespace, name); `replicas` by kind, namespace and name;
    `ending_first` are Deployments that end a pod before the one in its place starts."""

    policies: tuple[tuple[str, str], ...] = ()
    own: tuple[str, ...] = ()
    budgets: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    scratch: frozenset[tuple[str, str]] = frozenset()
    replicas: tuple[tuple[tuple[str, str, str], int], ...] = ()
    ending_first: frozenset[tuple[str, str, str]] = frozenset()

    def alone(self, kind: str, namespace: str, name: str) -> bool:
        """A single pod does the workload's work."""
        return dict(self.replicas).get((kind, namespace, name)) == 1


def read_at_stake(runner: Runner, old: str) -> AtStake:
    """`old` is the plug-in that goes. Raises ProvisionError when the API server does not answer."""
    lines = [
        f"{KUBECTL} get {kind} -A -o jsonpath={quote(rows(columns, word))}\n"
        for word, (kind, columns) in _ASKED.items()
    ]
    if own := OWN.get(old):
        lines.append(f"""{kinds_there(own)}[ -z "$kinds" ] || {KUBECTL} get "$kinds" -A -o jsonpath={quote(_OWN_PATH)}
""")
    return parse_at_stake(ask(runner, "set -e\n" + "".join(lines)).decode(errors="replace"))


def kinds_there(kinds: Sequence[str]) -> str:
    """Commands that set "$kinds" to those whose definitions are there, with commas, under `set -e`: Calico's differ
    from version to version."""
    return f"""names=$({KUBECTL} get crd {words(kinds)} --ignore-not-found -o name)
kinds=$(echo "$names" | sed 's|.*/||' | paste -s -d , -)
"""


def parse_at_stake(text: str) -> AtStake:
    rows: dict[str, list[list[str]]] = {}
    for line in text.splitlines():
        word, *columns = line.split("\t")
        rows.setdefault(word, []).append(columns)
    budgets = [(f"{row[0]}/{row[1]}", row[2]) for row in rows.get("budget", ())]
    workloads = rows.get("workload", ())
    return AtStake(
        policies=tuple((row[0], row[1]) for row in rows.get("policy", ()) if row[0] not in _OURS),
        own=tuple(_own(rows.get("own", ()))),
        budgets=tuple(name for name, _ in budgets),
        held=tuple(name for name, allowed in budgets if allowed in ("", "0")),
        scratch=frozenset((row[0], row[1]) for row in rows.get("pod", ()) if row[2].strip()),
        replicas=tuple(((row[0], row[1], row[2]), int(row[3] or 1)) for row in workloads),
        ending_first=frozenset((row[0], row[1], row[2]) for row in workloads if row[4] in ("0", "0%")),
    )


def is_users(kind: str, name: str) -> bool:
    """An object of those kinds that Calico has not made by itself, nor every spec with Calico."""
    automatic = kind == "HostEndpoint" and name.endswith(_MADE_BY_CALICO)
    return not automatic and name not in _MADE.get(kind, ())


def _own(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    for kind, namespace, name in rows:
        if is_users(kind, name):
            yield f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}"


_OWN_PATH = rows((".kind", ".metadata.namespace", ".metadata.name"), "own")
