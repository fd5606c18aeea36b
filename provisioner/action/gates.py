"""The named gates of the shipped playbooks, bound to one run."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from provisioner.engine.execute import Gate
from provisioner.errors import ProvisionError
from provisioner.kube.bindings import no_anonymous
from provisioner.kube.endpointnodes import nodes_ready
from provisioner.kube.gates import api_ready, endpoint_ready, network_ready
from provisioner.remote.pool import Pool

if TYPE_CHECKING:  # slow to import, and without a cluster there are no gates
    from provisioner.action.load import Loaded
    from provisioner.action.prepare import Prepared
    from provisioner.remote.session import Session
    from provisioner.resources.model import Answer
    from provisioner.shell.script import Script

REGISTRY_SECONDS = 30.0
ASK_SECONDS = 180.0


def gates_of(prepared: Prepared, pool: Pool) -> Mapping[str, Gate]:
    """Gates by name; none without a cluster."""
    cluster = prepared.cluster
    if cluster is None:
        return {}
    from provisioner.action.presence import Presence, begun
    from provisioner.action.variables import AGNHOST
    from provisioner.kube.traffic import TrafficCheck
    from provisioner.network import flannel

    first = cluster.control_planes[0]

    touched = _touched(prepared.loaded, cluster.node_names)
    others = [name for name in cluster.node_names if name not in touched]
    # Whoever is limited needs somebody to talk with: best the control plane, which is read in every run.
    nodes = [*touched, *sorted(others, key=lambda name: name != first)[:1]]
    hosts = [name for name in nodes if name in prepared.loaded.hosts]
    # The first one is left out: it is what runs the gates' scripts, and is missed by them.
    presence = Presence(pool, [name for name in hosts if name != first])

    def ready() -> str:
        # The pods of a plug-in on other nodes than the limited ones are none of this run's business.
        return network_ready(pool.session(first), touched, [] if others else [flannel.DAEMONS])

    def traffic() -> str:
        check = TrafficCheck(
            image=cluster.pullable(cluster.reference(AGNHOST)),
            nodes={name: cluster.spec.nodes[name].address for name in nodes},
            domain=cluster.spec.dns.domain,
            run=prepared.loaded.run,
            touched=touched if others else (),
            hosts=hosts,
        )
        return presence.beside(ready, lambda: check(pool.session(first), everywhere, presence.check))

    def everywhere(scripts: Mapping[str, Script]) -> Mapping[str, Answer | Exception]:
        def ask(session: Session) -> Answer:
            return session.run(scripts[session.host], deadline=ASK_SECONDS)

        # Who asks a host that is gone waits for it for long.
        return presence.result(begun(lambda: pool.map(list(scripts), ask)))

    return {
        "registry_ready": lambda: _registry_ready(prepared),
        "api_ready": lambda: api_ready([pool.session(host) for host in cluster.control_planes]),
        "endpoint_ready": lambda: endpoint_ready(pool.session(first), str(cluster.spec.endpoint)),
        "nodes_ready": lambda: nodes_ready(pool.session(first), str(cluster.spec.endpoint)),
        "network_ready": lambda: presence.result(begun(ready)),
        "no_anonymous": lambda: no_anonymous(pool.session(first)),
        "traffic": traffic,
    }


def _touched(loaded: Loaded, names: Sequence[str]) -> Sequence[str]:
    """The nodes that the run is about: all, or those of its limit; all again when that holds none."""
    if loaded.request.limit is None:
        return names
    limited = {host.name for host in loaded.inventory.match(loaded.request.limit)}
    return [name for name in names if name in limited] or names


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
