"""The new network carries what pods ask each other, before the former one goes."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Collection
from contextlib import suppress

from provisioner.action.exchange import everywhere, exchange_of, exchanging, talks
from provisioner.action.migration.change import AT_ONCE
from provisioner.action.migration.running import Run
from provisioner.action.transition import few
from provisioner.errors import ProvisionError
from provisioner.kube.check_objects import check_name
from provisioner.kube.traffic import TrafficCheck

_SECONDS = 60.0
"""In which each pair has to be heard of once more."""
_ROUND = 1.0


def check_measured(run: Run) -> None:
    """Before a node is moved: raises ProvisionError where pods do not hear of each other in the network that is there,
    so that nothing could tell whether a node has been cut off. On the way back, and where nobody asks node by node,
    the end is asked alone."""
    change = run.change
    if run.exchange is None and change.fresh and not change.migration.back and not change.all_at_once:
        raise ProvisionError(
            "losses are not measured, and with that not whether a node's pods are heard of after its turn: the "
            "network has not been changed",
            f"mend what the warning above tells, or say --strategy {AT_ONCE}, which asks in the end alone",
        )


def check_node(run: Run, node: str) -> None:
    """Pods of the node, which have moved, and all others get each other's answers. Raises ProvisionError. On the way
    back others may still be in a network that does not carry: the end is asked alone."""
    if run.change.migration.back:
        if run.exchange is not None:
            with suppress(ProvisionError):
                run.exchange.anew()  # clients cease to ask when nobody looks for long
        return
    if run.exchange is None:
        check_all(run)
    else:
        _await(run, (node,))


def check_all(run: Run) -> None:
    """The same of all nodes, for the last time before the former network goes. Raises ProvisionError."""
    if run.exchange is not None:
        _await(run, run.nodes)
    else:
        with run.step("exchange"), exchanging(exchange_of(run.change.target), run.pool, run.plane):
            pass  # they have talked, or it does not begin
    _check_families(run)


def _check_families(run: Run) -> None:
    """What asks all the time does so by one IP family. Clusters of others have no namespace for the check's pods."""
    spec, loaded = run.change.new, run.change.target
    families = {ipaddress.ip_network(each).version for each in spec.network.pod_cidrs}
    if len(families) == 1 or spec.existing is not None:
        return
    nodes = {name: spec.nodes[name].address for name in run.nodes}
    image, few_nodes = exchange_of(loaded).image, few(len(nodes))
    check = TrafficCheck(image, nodes, spec.dns.domain, check_name(loaded.run), at_once=few_nodes)
    with run.step("traffic", "both IP families"):
        check(run.plane, everywhere(run.pool))


def _await(run: Run, nodes: Collection[str]) -> None:
    assert run.exchange is not None  # noqa: S101
    since, end = run.exchange.anew(), time.monotonic() + _SECONDS
    while silent := [
        each for each in since.lost().pairs if not talks(each) and {each.source, each.target} & set(nodes)
    ]:
        if time.monotonic() > end:
            named = ", ".join(f"{each.source} from {each.target}" for each in silent)
            raise ProvisionError(
                f"pods get no answers of others for {_SECONDS:.0f} s: {named}; nothing of "
                f"{run.change.old.network.plugin} has been taken away yet",
                "does anything between the hosts drop packets of the new network? --rollback leads back",
            )
        time.sleep(_ROUND)
