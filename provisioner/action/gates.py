"""The named gates of the shipped playbooks, bound to one run."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from provisioner.engine.events import Emit, Note
from provisioner.engine.execute import Gate
from provisioner.errors import ProvisionError, UnreachableError
from provisioner.inventory.model import Inventory
from provisioner.kube.bindings import no_anonymous
from provisioner.kube.endpointnodes import nodes_ready
from provisioner.kube.gates import api_ready, api_started, endpoint_ready, network_ready
from provisioner.kube.switch import await_return, check_nodes_ready
from provisioner.remote.pool import Pool
from provisioner.spec.model import ClusterSpec, Endpoint

if TYPE_CHECKING:  # slow to import, and without a cluster there are no gates
    from provisioner.action.load import Loaded
    from provisioner.action.prepare import Prepared
    from provisioner.action.variables import ClusterVariables
    from provisioner.engine.watch import Watch
    from provisioner.remote.session import Session
    from provisioner.resources.model import Answer
    from provisioner.shell.script import Script

REGISTRY_SECONDS = 30.0
ASK_SECONDS = 180.0
_FIREWALL_OPEN = "firewall_open"


def gates_of(prepared: Prepared, pool: Pool, emit: Emit, watch: Watch) -> Mapping[str, Gate | None]:
    """Gates by name, None for one that has nothing to ask in this run; none without a cluster. `watch` is asked before
    a gate stops something by itself."""
    cluster, transition = prepared.cluster, prepared.loaded.transition
    if cluster is None:
        return {}
    gates: Mapping[str, Gate | None] = {
        _FIREWALL_OPEN: _firewall_open(prepared, pool, emit),
        "registry_ready": None if cluster.spec.registry.preload else lambda: _registry_ready(prepared),
        "nodes_pull": _nodes_pull(prepared, cluster, pool),
        **_of_api(prepared, cluster, pool, emit, watch),
        **_of_network(prepared, cluster, pool),
    }
    return leniently(gates, transition.lenient, emit) if transition else gates


def leniently(
    gates: Mapping[str, Gate | None], names: Collection[str], emit: Emit
) -> Mapping[str, Gate | None]:
    """With gates of those names that warn where they do not hold, and stop nobody."""

    def warning(name: str, gate: Gate) -> str:
        try:
            return gate()
        except UnreachableError:
            raise
        except ProvisionError as fault:
            emit(
                Note(
                    level="warning", message=f"{name} does not hold: {fault.reason}", hint="this run goes on"
                )
            )
            return "does not hold"

    return {
        name: partial(warning, name, gate) if gate is not None and name in names else gate
        for name, gate in gates.items()
    }


def _of_network(prepared: Prepared, cluster: ClusterVariables, pool: Pool) -> Mapping[str, Gate]:
    from provisioner.action.presence import Presence, begun
    from provisioner.action.transition import few
    from provisioner.action.variables import AGNHOST
    from provisioner.kube.check_objects import check_name
    from provisioner.kube.traffic import TrafficCheck

    first = cluster.control_planes[0]
    touched = _touched(prepared.loaded, cluster.node_names)
    others = [name for name in cluster.node_names if name not in touched]
    # Whoever is limited needs somebody to talk with: best the control plane, which is read in every run.
    nodes = [*touched, *sorted(others, key=lambda name: name != first)[:1]]
    hosts = [name for name in nodes if name in prepared.loaded.hosts]
    # The first one is left out: it is what runs the gates' scripts, and is missed by them.
    presence = Presence(pool, [name for name in hosts if name != first])

    def running(*daemons: str) -> str:
        # The pods of a plug-in on other nodes than the limited ones are none of this run's business.
        network = cluster.network
        wanted = [] if others else daemons
        return network_ready(pool.session(first), touched, wanted, operated=network.operated)

    def pods() -> str:
        return running(cluster.network.daemons)

    def all_networks() -> str:
        return running(cluster.network.daemons, *cluster.attached.daemons)

    def traffic() -> str:
        check = TrafficCheck(
            image=cluster.pullable(cluster.reference(AGNHOST)),
            nodes={name: cluster.spec.nodes[name].address for name in nodes},
            domain=cluster.spec.dns.domain,
            name=check_name(prepared.loaded.run),
            touched=touched if others else (),
            hosts=hosts,
            joined=bool(cluster.joining),
            at_once=few(len(nodes)) if prepared.loaded.transition else 0,
        )
        return presence.beside(all_networks, lambda: check(pool.session(first), everywhere, presence.check))

    def everywhere(scripts: Mapping[str, Script]) -> Mapping[str, Answer | Exception]:
        def ask(session: Session) -> Answer:
            return session.run(scripts[session.host], deadline=ASK_SECONDS)

        # Who asks a host that is gone waits for it for long.
        return presence.result(begun(lambda: pool.map(list(scripts), ask)))

    return {
        "network_ready": lambda: presence.result(begun(pods)),
        "traffic": traffic,
    }


def _of_api(
    prepared: Prepared, cluster: ClusterVariables, pool: Pool, emit: Emit, watch: Watch
) -> Mapping[str, Gate]:
    first, address, began = cluster.control_planes[0], str(cluster.spec.endpoint), time.monotonic()

    def warn(said: str) -> None:
        emit(Note(message=said, level="warning"))

    def endpoint() -> str:
        from provisioner.action.failovertest import gate_of_new

        hint = mending_endpoint(prepared.loaded.inventory, cluster.spec)
        said = endpoint_ready(pool.session(first), address, hint)
        # Where a run was cut off amid a switch it is begun anew: that node may well have the address that is wrong.
        steady = [name for name in cluster.switching if name in prepared.loaded.hosts]
        if steady := [name for name in steady if not prepared.facts[name].switch_under_way]:
            check_nodes_ready(pool.session(first), steady)
        return "; ".join(filter(None, (said, gate_of_new(prepared, pool, emit, watch))))

    return {
        "api_ready": lambda: api_ready([pool.session(host) for host in cluster.control_planes]),
        "api_started": lambda: api_started([pool.session(host) for host in cluster.control_planes], began),
        "endpoint_ready": endpoint,
        "endpoint_taken": lambda: await_return(
            pool.session(first),
            {name: pool.session(name) for name in cluster.switching if name in prepared.loaded.hosts},
        ),
        "nodes_ready": lambda: nodes_ready(pool.session(first), address, _switched(prepared), began, warn),
        "no_anonymous": lambda: no_anonymous(pool.session(first)),
    }


def _switched(prepared: Prepared) -> Sequence[str]:
    """The nodes of the inventory, of a cluster that others have built."""
    from provisioner.kube.kubeconfigserver import KubeconfigServerKind

    kind = prepared.kinds["kubeconfig_server"]
    if not isinstance(kind, KubeconfigServerKind):
        raise TypeError("the kind of kubeconfigs is not ours")
    return kind.nodes


def mending_endpoint(inventory: Inventory, spec: ClusterSpec) -> str:
    """What to look at where the endpoint leads to no API server."""
    if inventory.group("load_balancer"):
        return "look at `journalctl -u api-load-balancer -u keepalived` on the load balancers"
    servers = [host.name for host in inventory.group("kube_control_plane")]
    if spec.endpoint.host in {*servers, *(spec.nodes[name].address for name in servers)}:
        return "look at `journalctl -u kube-apiserver` there"
    upstreams = ", ".join(str(Endpoint(spec.nodes[name].address)) for name in servers)
    return (
        f"it is no host of the inventory: the load balancer there has to hand TCP connections to {spec.endpoint} on to "
        f"{upstreams}, TLS untouched, and to leave out a server that does not answer /readyz; then apply again"
    )


def _touched(loaded: Loaded, names: Sequence[str]) -> Sequence[str]:
    """The nodes that the run is about: all, or those of its limit; all again when that holds none."""
    if loaded.request.limit is None:
        return names
    limited = {host.name for host in loaded.inventory.match(loaded.request.limit)}
    return [name for name in names if name in limited] or names


def _firewall_open(prepared: Prepared, pool: Pool, emit: Emit) -> Gate | None:
    """Tries what could not be tried before the run had opened the hosts' firewalls: the ports are nobody's yet, and
    nothing builds on them. What others have built is as its builder wants it."""
    loaded, spec = prepared.loaded, prepared.loaded.spec
    opened = {host for stage in prepared.desired if stage.gate == _FIREWALL_OPEN for host in stage.hosts}
    if spec is None or spec.existing is not None or not opened:
        return None
    from provisioner.action.between import Between
    from provisioner.action.newcomers import newcomers

    facts = prepared.facts
    check = Between(loaded.inventory, spec, facts, newcomers(spec, facts), opened=opened)
    return (lambda: check.gate(pool, emit)) if check.packets else None


def _nodes_pull(prepared: Prepared, cluster: ClusterVariables, pool: Pool) -> Gate | None:
    """Each node of this run pulls one image. None without a registry that is this tool's to ask."""
    if cluster.spec.registry.preload or cluster.spec.existing is not None:
        return None
    from provisioner.action.variables import PAUSE
    from provisioner.registry.pulltest import SECONDS, judge, pull_test

    hosts = [each for each in _touched(prepared.loaded, cluster.node_names) if each in prepared.loaded.hosts]
    image = cluster.pullable(cluster.reference(PAUSE))
    script = pull_test(image)
    return lambda: judge(image, pool.map(hosts, lambda session: session.run(script, deadline=SECONDS)))


def _registry_ready(prepared: Prepared) -> str:
    from provisioner.registry.kind import ImageKind

    kind = prepared.kinds["image"]
    if not isinstance(kind, ImageKind):
        raise TypeError("the image kind is not ours")
    end = time.monotonic() + REGISTRY_SECONDS
    while True:
        try:
            kind.ping()
        except ProvisionError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)
        else:
            return "answers over TLS"
