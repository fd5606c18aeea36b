"""The named gates of the shipped playbooks, bound to one run."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from provisioner.engine.execute import Gate
from provisioner.errors import ProvisionError
from provisioner.kube.bindings import no_anonymous
from provisioner.kube.gates import api_ready, network_ready
from provisioner.remote.pool import Pool

if TYPE_CHECKING:  # slow to import, and without a cluster there are no gates
    from provisioner.action.prepare import Prepared

REGISTRY_SECONDS = 30.0


def gates_of(prepared: Prepared, pool: Pool) -> Mapping[str, Gate]:
    """Gates by name; none without a cluster."""
    cluster = prepared.cluster
    if cluster is None:
        return {}
    from provisioner.action.variables import AGNHOST
    from provisioner.kube.traffic import TrafficCheck
    from provisioner.network import flannel

    first = cluster.control_planes[0]

    def ready() -> str:
        return network_ready(pool.session(first), cluster.node_names, [flannel.DAEMONS])

    def traffic() -> str:
        ready()
        check = TrafficCheck(
            image=cluster.pullable(cluster.reference(AGNHOST)),
            nodes={name: cluster.spec.nodes[name].address for name in cluster.node_names},
            domain=cluster.spec.dns.domain,
            run=prepared.loaded.run,
        )
        return check(pool.session(first))

    return {
        "registry_ready": lambda: _registry_ready(prepared),
        "api_ready": lambda: api_ready([pool.session(host) for host in cluster.control_planes]),
        "network_ready": ready,
        "no_anonymous": lambda: no_anonymous(pool.session(first)),
        "traffic": traffic,
    }


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
