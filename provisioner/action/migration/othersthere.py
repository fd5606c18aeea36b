"""Whether a cluster that others have built is as its inventory says, and how this tool gets at it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from typing import Any

from provisioner.action.firewall import Ports, check_firewalls, ports_of
from provisioner.action.migration.hosts import each
from provisioner.action.migration.running import Run
from provisioner.action.podnetwork import check_combination, check_pod_network
from provisioner.action.prepare import gather
from provisioner.errors import InputError, Problem, ProvisionError
from provisioner.inventory.model import Inventory
from provisioner.kube.kubectl import KUBECTL
from provisioner.kube.marks import ask
from provisioner.kube.podcopies import FOLDER
from provisioner.network.needs import needs_of
from provisioner.pki.cluster import MARK_FILE
from provisioner.playbook.facts import Facts
from provisioner.remote.pool import Pool
from provisioner.shell.quote import quote
from provisioner.shell.script import Script
from provisioner.shell.worklock import locked
from provisioner.spec.model import ClusterSpec, Existing

_PROGRAM, _CONFIG = "/opt/kubernetes/bin/kubectl", "/etc/kubernetes/admin.kubeconfig"
"""Where this tool's scripts look for them (kube.kubectl)."""
_LINKS = f"{FOLDER}/links"
"""Links of ours, each noted before it is made: a run that was killed leaves them, and others' own are not touched."""
_BACK = f"""
[ ! -e {_LINKS} ] || {{
  while read -r place target; do
    [ "$(readlink "$place")" != "$target" ] || rm -f -- "$place"
    rmdir -- "${{place%/*}}" 2>/dev/null || :
  done <{_LINKS}
  rmdir /opt/kubernetes 2>/dev/null || :
  rm -f {_LINKS}
  rmdir {FOLDER} 2>/dev/null || :
}}
"""
_ACCESS = f"""
set -e
{_BACK.strip()}
k={_PROGRAM} c={_CONFIG}
link() {{
  mkdir -p {FOLDER} "${{2%/*}}"
  echo "$2 $1" >>{_LINKS}
  ln -s "$1" "$2"
}}
[ -x "$k" ] || {{
  found=$(PATH="$PATH:/usr/local/bin:$1/bin" command -v kubectl) || {{ echo "there is no kubectl" >&2; exit 3; }}
  link "$found" "$k"
}}
# With the mark this tool has made the configuration itself.
if [ ! -s {MARK_FILE} ] || [ ! -s "$c" ]; then
  [ -s "$2" ] || {{ echo "there is no $2" >&2; exit 4; }}
  [ -s "$c" ] || link "$2" "$c"
  [ "$(cat "$c")" = "$(cat "$2")" ] || {{ echo "$c is there, and another one than $2" >&2; exit 5; }}
fi
mkdir -p /var/lib/provision/state
"$k" --kubeconfig="$c" --request-timeout=20s get --raw /readyz >/dev/null
"""
_PROXY = """
url=http://127.0.0.1:10249/proxyMode
curl -fsS -m 5 "$url" 2>/dev/null || wget -qO- -T 5 "$url" 2>/dev/null || :
"""


def open_access(stack: ExitStack, pool: Pool, host: str, existing: Existing) -> None:
    """This tool's scripts find kubectl and its rights on `host` until `stack` closes. Raises ProvisionError."""
    stack.callback(partial(_close_access, pool, host))
    script = f"set -- {quote(existing.kubernetes)} {quote(existing.admin_kubeconfig)}\n{_ACCESS}"
    answer = pool.session(host).run(Script(locked(script) + "\n"), deadline=60)
    if answer.status != 0:
        said = answer.stderr.decode(errors="replace").strip()[-300:]
        hint = {
            3: "this tool asks the cluster from its first control plane: install kubectl there",
            4: "cluster.existing: {preset: ..., admin_kubeconfig: PATH} names an administrator's kubeconfig there",
            5: f"say admin_kubeconfig: {_CONFIG} if that one is meant, or move it away",
        }.get(answer.status, f"`kubectl get --raw /readyz` on {host} has to work")
        raise ProvisionError(f"{host}: the cluster cannot be asked: {said}", hint)


def _close_access(pool: Pool, host: str) -> None:
    with suppress(ProvisionError):
        pool.session(host).run(Script(locked(_BACK) + "\n"), deadline=60)


def _proxy_modes(run: Run) -> Mapping[str, str]:
    """What kube-proxy says on each node that it does; "" where nobody says so."""
    said = each(run.pool, run.nodes, Script(_PROXY), "kube-proxy cannot be asked")
    return {host: text.strip() for host, text in said.items()}


def check_there(run: Run) -> None:
    """Raises InputError where the inventory says otherwise than what is there, and ProvisionError for what is not
    migrated."""
    spec, inventory = run.change.new, run.change.target.inventory
    nodes = json.loads(ask(run.plane, f"{KUBECTL} get nodes -o json\n"))["items"]
    problems = [*_nodes_differ(inventory, spec, nodes), *_proxy_differs(inventory, spec, _proxy_modes(run))]
    if problems:
        raise InputError(problems)
    other = {
        node["metadata"]["name"]: version
        for node in nodes
        if not (version := node["status"]["nodeInfo"]["containerRuntimeVersion"]).startswith("containerd://")
    }
    if other:
        said = ", ".join(f"{name} ({version})" for name, version in other.items())
        raise ProvisionError(
            f"{said}: nodes get images by containerd's own client, and run something else",
            "only nodes with containerd are migrated",
        )


def check_hosts(run: Run) -> None:
    """Whether nodes can bear the network that is to come. Raises ProvisionError with what they lack."""
    change, spec = run.change, run.change.new
    facts = gather(change.target, run.pool)
    images = change.target.bundle.images() if change.target.bundle else ()
    check_pod_network(spec, facts, images)
    check_combination(spec, facts, images, run.emit)
    if spec.firewall == "ignore":
        return
    try:
        check_firewalls(facts, _ports(run, facts), spec)
    except ProvisionError as fault:
        hint = "open that between the nodes first; `firewall: ignore` in the inventory leaves it to you"
        raise ProvisionError(fault.reason, hint) from None


def _ports(run: Run, facts: Mapping[str, Facts]) -> Mapping[str, Ports]:
    """What the new network itself wants to be open; all else on these hosts is their builder's."""
    spec, needs = run.change.new, needs_of(run.change.new)
    tcp, udp = ({str(port) for port in ports} for ports in (needs.tcp, needs.udp))
    every = ports_of(run.change.target.inventory, spec, facts)
    return {
        name: replace(
            each,
            tcp=tuple(port for port in each.tcp if port in tcp),
            udp=tuple(port for port in each.udp if port in udp),
        )
        for name, each in every.items()
        if name in run.nodes
    }


def _nodes_differ(
    inventory: Inventory, spec: ClusterSpec, nodes: Sequence[Mapping[str, Any]]
) -> list[Problem]:
    there = {node["metadata"]["name"]: node for node in nodes}
    known = {name for name, each in spec.nodes.items() if each.node}
    place = inventory.origin(None, "cluster", "existing")
    problems = []
    for name in sorted(there.keys() - known):
        addresses = [each["address"] for each in there[name]["status"]["addresses"]]
        same = [host for host, each in spec.nodes.items() if each.address in addresses]
        renamed = f"call the host {same[0]} {name}, as its node" if same and same[0] != name else ""
        hint = renamed or "name it under 'kube_node'"
        reason = f"the cluster has the node {name}, which the inventory does not have among its nodes"
        problems.append(Problem(*place, reason, hint))
    for name in sorted(known - there.keys()) if not problems else ():
        where = inventory.origin(name, "ansible_host")
        problems.append(Problem(*where, f"{name} is no node of the cluster", "take it out of 'kube_node'"))
    return problems


def _proxy_differs(inventory: Inventory, spec: ClusterSpec, modes: Mapping[str, str]) -> list[Problem]:
    wrong = sorted({mode for mode in modes.values() if mode and mode != spec.proxy.mode})
    if not wrong:
        return []
    place = inventory.origin(None, "cluster", "proxy", "mode")
    reason = f"mode: kube-proxy says {' and '.join(wrong)} on the nodes, and here it is {spec.proxy.mode}"
    return [Problem(*place, reason, f"write proxy: {{mode: {wrong[0]}}}")]
