"""The new network carries what pods ask each other, before the former one goes."""

from __future__ import annotations

import time
from collections.abc import Collection

from provisioner.action.exchange import exchange_of, exchanging
from provisioner.action.migration.running import Run
from provisioner.engine.events import PairExchanged
from provisioner.errors import ProvisionError

_SECONDS = 60.0
"""In which each pair has to be heard of once more."""
_ROUND = 1.0


def check_node(run: Run, node: str) -> None:
    """Pods of the node, which have moved, and all others get each other's answers. Raises ProvisionError. On the way
    back others may still be in a network that does not carry: the end is asked alone."""
    if run.exchange is not None and not run.change.migration.back:
        _await(run, (node,))


def check_all(run: Run) -> None:
    """The same of all nodes, for the last time before the former network goes. Raises ProvisionError."""
    if run.exchange is not None:
        _await(run, run.nodes)
        return
    with run.step("exchange"), exchanging(exchange_of(run.change.target), run.pool, run.plane):
        pass  # they have talked, or it does not begin


def _await(run: Run, nodes: Collection[str]) -> None:
    assert run.exchange is not None  # noqa: S101
    since, end = run.exchange.anew(), time.monotonic() + _SECONDS
    while silent := [
        each for each in since.lost().pairs if not _talks(each) and {each.source, each.target} & set(nodes)
    ]:
        if time.monotonic() > end:
            named = ", ".join(f"{each.source} from {each.target}" for each in silent)
            raise ProvisionError(
                f"pods get no answers of others for {_SECONDS:.0f} s: {named}; nothing of "
                f"{run.change.old.network.plugin} has been taken away yet",
                "does anything between the hosts drop packets of the new network? --rollback leads back",
            )
        time.sleep(_ROUND)


def _talks(pair: PairExchanged) -> bool:
    return pair.back and pair.requests > pair.failed
