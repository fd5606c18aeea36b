"""Whom the DNS pods will ask, where that is up to their nodes: a loop is found before anything changes.

CoreDNS ends when it finds that it asks itself (coredns #2087), which is some time after all else is done.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from provisioner.engine.events import Emit, Note
from provisioner.errors import ProvisionError
from provisioner.playbook.facts import Facts
from provisioner.playbook.factsread import is_own
from provisioner.spec.dns import NODES_FILE
from provisioner.spec.model import ClusterSpec

_HINT = (
    "name servers there that pods reach, or set cluster.dns.upstreams: to their addresses, "
    "or to [] where only the cluster's own names shall be answered"
)


def check_name_servers(spec: ClusterSpec, facts: Mapping[str, Facts], emit: Emit) -> None:
    """Raises ProvisionError naming every node with which the DNS pods could not work; warns of those with which they
    would now and then."""
    if NODES_FILE not in spec.dns.upstreams:
        return
    nodes = {name: each for name, each in facts.items() if spec.nodes[name].node}
    alone = len(spec.dns.upstreams) == 1
    faults = [fault for name, each in nodes.items() for fault in _faults(spec, name, each, alone=alone)]
    if faults:
        raise ProvisionError("\n".join(faults), _HINT)
    for name, each in nodes.items():
        own = [server for server in each.nameservers if is_own(server)]
        if own:
            said = f"{name}: {', '.join(own)} in its {each.resolver} is, in the DNS pods, they themselves"
            emit(Note(level="warning", message=said, hint=_HINT))


def _faults(spec: ClusterSpec, name: str, facts: Facts, *, alone: bool) -> Iterator[str]:
    file, servers = facts.resolver, facts.nameservers
    if alone and not servers:
        yield f"{name}: its {file} names no name server, and without one the DNS pods do not start"
    elif alone and all(map(is_own, servers)):
        named = ", ".join(servers)
        yield f"{name}: its {file} names {named} alone: in the DNS pods that is they themselves, and they end"
    if spec.dns.address in servers:
        yield f"{name}: its {file} names the cluster's own DNS service, {spec.dns.address}, which would ask itself"
