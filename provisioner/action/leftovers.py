"""The stage that takes away what left the playbook: things on hosts by what they remember, objects by their label."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from provisioner.action.load import Loaded
from provisioner.engine.ownership import leftovers
from provisioner.engine.plan import Desired
from provisioner.resources.model import AnyKind, Owned


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
    # Nothing goes anywhere before all the rest stands everywhere.
    before = [*desired[:at]]
    if before:
        before[-1] = replace(before[-1], barrier=True)
    return (*before, stage, *desired[at:])


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
