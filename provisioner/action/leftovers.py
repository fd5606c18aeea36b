"""The stage that takes away what left the playbook: things on hosts by what they remember, objects by their label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from provisioner.action.load import Loaded
from provisioner.action.virtualrouter import SHARES
from provisioner.engine.ownership import leftovers
from provisioner.engine.plan import Desired
from provisioner.resources.model import AnyKind, Owned, Resource

LEAVING = "load balancers that leave"
_SHARED_BY = "file:/etc/keepalived/keepalived.conf"


def with_leftovers(
    loaded: Loaded,
    desired: tuple[Desired, ...],
    owned: Mapping[str, Mapping[str, Owned]],
    kinds: Mapping[str, AnyKind],
    playbook: str,
) -> tuple[Desired, ...]:
    """`desired` with that stage, once all the rest stands, and before the last proof.

    Not in a run that leaves out stages: what they want is not known then.
    """
    request = loaded.request
    if request.selection.tags or request.selection.stages:
        return desired
    limited = {host.name for host in loaded.inventory.match(request.limit)} if request.limit else set(owned)
    mine = {host: each for host, each in owned.items() if host in limited}
    stage = leftovers(desired, mine, playbook, kinds)
    if "components" in kinds and request.playbook is None and loaded.state_host in limited:
        stage = _with_objects(stage, desired, loaded.state_host)
    if not stage.hosts:
        return desired
    at = len(desired)
    while at and desired[at - 1].always:
        at -= 1
    # Nothing goes anywhere before all the rest stands everywhere, but for who would share an address with others.
    before, stage = _handed_over([*desired[:at]], stage, owned)
    if before and stage.hosts:
        before[-1] = replace(before[-1], barrier=True)
    return (*before, *((stage,) if stage.hosts else ()), *desired[at:])


def _handed_over(
    desired: list[Desired], stage: Desired, owned: Mapping[str, Mapping[str, Owned]]
) -> tuple[list[Desired], Desired]:
    """Both, where a load balancer leaves and one that stays is at work: it hands the virtual address over before the
    others are told that it is no peer, since whoever does not hear it any more takes the address."""
    leaving = {
        host: tuple(each for each in resources if each.id == SHARES)
        for host, resources in stage.hosts.items()
    }
    leaving = {host: each for host, each in leaving.items() if each}
    having = [at for at, each in enumerate(desired) if any(map(_shares, each.hosts.values()))]
    staying = {host for at in having for host, each in desired[at].hosts.items() if _shares(each)}
    if not leaving or not any(SHARES in owned.get(host, {}) for host in staying - leaving.keys()):
        return desired, stage
    rest = {
        host: tuple(each for each in resources if each.id != SHARES)
        for host, resources in stage.hosts.items()
    }
    at = having[0]
    held = [
        replace(each, needs=None) if any(map(_shares, each.hosts.values())) else each for each in desired[at:]
    ]
    return (
        [*desired[:at], Desired(LEAVING, leaving, barrier=True), *held],
        replace(stage, hosts={host: each for host, each in rest.items() if each}),
    )


def _shares(resources: Sequence[Resource]) -> bool:
    return any(each.id in (SHARES, _SHARED_BY) for each in resources)


def _with_objects(stage: Desired, desired: tuple[Desired, ...], host: str) -> Desired:
    from provisioner.kube.components import components

    objects = [
        item
        for each in desired
        for resource in each.hosts.get(host, ())
        if resource.kind == "manifest"
        for item in resource.spec["objects"]
    ]
    return replace(stage, hosts={**stage.hosts, host: (components(objects), *stage.hosts.get(host, ()))})
