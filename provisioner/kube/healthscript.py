"""One script a host that reads how the cluster's parts on it are. Everything that asks a server runs side by side."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from provisioner.inventory.aliases import CONTROL_PLANE, ETCD, LOAD_BALANCER, NODE
from provisioner.kube.etcdctl import etcdctl
from provisioner.kube.kubectl import KUBECTL_WAITING
from provisioner.kube.requests import SIGNER
from provisioner.shell.quote import words
from provisioner.shell.script import Script
from provisioner.spec.model import Existing

UNITS: Mapping[str, tuple[str, ...]] = {
    ETCD: ("etcd",),
    CONTROL_PLANE: ("kube-apiserver", "kube-controller-manager", "kube-scheduler"),
    NODE: ("containerd", "kubelet"),
    LOAD_BALANCER: ("api-load-balancer", "api-load-balancer-watch"),
}
"""The services of each role that are on every host, by the same name: a registry's depends on the distribution, and
kube-proxy is not everywhere."""

SECONDS = 3
"""How long a server may take. Together with the rest a status stays within five seconds."""
_LONGEST = 200

# A server that hangs must not hold up the others; each answer is a section with the exit status in its head.
_ASK = """
ask() {
  name=$1
  shift
  asked="$asked $name"
  { "$@" >"$W/$name.out" 2>"$W/$name.err" && s=0 || s=$?; echo "$s" >"$W/$name.status"; } </dev/null &
}
tell() {
  wait
  for name in $asked; do
    read -r s <"$W/$name.status"
    echo "=$name $s"
    cat "$W/$name.out"
    [ "$s" -eq 0 ] || tail -n 3 "$W/$name.err"
    echo
  done
}
asked=
"""
_ETCDCTL = etcdctl(seconds=SECONDS)
_KUBECTL_UNSURE = (
    "/opt/kubernetes/bin/kubectl --kubeconfig=/dev/null --insecure-skip-tls-verify"
    " --client-certificate=/etc/kubernetes/pki/admin.crt --client-key=/etc/kubernetes/pki/admin.key"
)
"""For controllers whose certificate is of their own making, as it is where nobody gives them one; only health is asked,
on the host itself. (Without any credentials kubectl asks for a name.)"""
_KUBECTL = f"{KUBECTL_WAITING} --request-timeout={SECONDS}s"


@dataclass(frozen=True)
class Section:
    """What one question gave."""

    status: int
    text: str

    @property
    def last_line(self) -> str:
        """The end of what was said, in a line that is not too long."""
        lines = [line.strip() for line in self.text.splitlines() if line.strip()]
        line = lines[-1] if lines else f"exit status {self.status}"
        return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


def health_script(
    roles: Collection[str],
    fragments: Mapping[str, str],
    *,
    nodes: bool,
    services: Sequence[str] = (),
    etcdctl: str = _ETCDCTL,
    own_certificates: bool = True,
) -> Script:
    """Asks what runs on a host with these roles, and for its further `services`. `fragments` are further questions, by
    name; `nodes`: also for nodes. `etcdctl` is its beginning; without `own_certificates` controllers have none of ours.

    Sections: units, journal, and of a control plane readyz, controllers, scheduler, version, nodes, requests, of an
    etcd member member, status, of a load balancer balancer.
    """
    named = [unit for role, names in UNITS.items() if role in roles for unit in names]
    units = [f"{unit}.service" for unit in (*named, *services)]
    lines = [_ASK]
    if units:
        lines.append(f"ask units systemctl show --property=Id,ActiveState,SubState -- {words(units)}")
    lines.append("ask journal tail -n 1 /var/lib/provision/journal")
    if CONTROL_PLANE in roles:
        lines += _api_questions(nodes=nodes, own_certificates=own_certificates)
    if ETCD in roles:
        lines += [
            f"ask member {etcdctl} endpoint health -w json",
            f"ask status {etcdctl} endpoint status -w json",
        ]
    if LOAD_BALANCER in roles:
        lines.append("ask balancer /opt/kubernetes/bin/api-health")
    for name, text in fragments.items():
        lines += [f"{name}() {{\n{text}\n}}", f"ask {name} {name}"]
    return Script("\n".join([*lines, "tell", ""]))


def sections(output: bytes) -> dict[str, Section]:
    """The answers by name."""
    found = {}
    for block in ("\n" + output.decode(errors="replace")).split("\n=")[1:]:
        head, _, text = block.partition("\n")
        name, _, status = head.partition(" ")
        if status.isdigit():
            found[name] = Section(int(status), text)
    return found


def etcdctl_of(existing: Existing, address: str) -> str:
    """That of an etcd that others have built, which listens on its host's address alone."""
    ssl = f"{existing.etcd}/ssl"
    host = f"[{address}]" if ":" in address else address
    return (
        f"{existing.etcd}/bin/etcdctl --endpoints=https://{host}:2379 --cacert={ssl}/ca.pem --cert={ssl}/server.pem"
        f" --key={ssl}/server-key.pem --dial-timeout={SECONDS}s --command-timeout={SECONDS}s"
    )


def _api_questions(*, nodes: bool, own_certificates: bool) -> list[str]:
    kubectl = _KUBECTL if own_certificates else f"{_KUBECTL_UNSURE} --request-timeout={SECONDS}s"
    lines = [
        f"ask readyz {_KUBECTL} get --raw '/readyz?verbose'",
        f"ask controllers {kubectl} --server=https://127.0.0.1:10257 get --raw /healthz",
        f"ask scheduler {kubectl} --server=https://127.0.0.1:10259 get --raw /healthz",
    ]
    if nodes:
        lines += [
            f"ask version {_KUBECTL} get --raw /version",
            f"ask nodes {_KUBECTL} get --raw /api/v1/nodes",
            f"ask requests {_KUBECTL} get csr --field-selector=spec.signerName={SIGNER} -o json",
        ]
    return lines
