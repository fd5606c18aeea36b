"""`plan`: read, compare, and hand the value over."""

from __future__ import annotations

import time
from dataclasses import replace

from provisioner.action.load import Request, load
from provisioner.action.pending import write_pending
from provisioner.action.prepare import Prepared, connect, prepare
from provisioner.engine.events import Emit, Note, Progress, RunStarted, Step
from provisioner.engine.plan import Plan
from provisioner.engine.planner import Planner
from provisioner.remote.pool import Pool

_EMPTY = Note(
    message="the selection is empty: on the chosen hosts no resource belongs to the chosen stages and tags",
    level="warning",
    hint="`provision plan --help` tells what --limit, --tags and --stage choose",
)


def make_plan(request: Request, emit: Emit, *, keep: bool = False, explain: bool = False) -> Plan:
    """The plan; nothing is changed and no lock is taken. Raises ProvisionError.

    `keep`: it will be carried out later, so the keys that it promises to a new cluster are kept until then. `explain`:
    with what is changed in publishers' manifests, and why.
    """
    loaded = load(request, emit)
    emit(RunStarted(run=loaded.run, command="plan", inventory=str(request.inventory), hosts=loaded.hosts))
    with connect(loaded) as pool:
        prepared = prepare(loaded, pool, emit)
        if keep and prepared.fresh:
            write_pending(prepared.fresh.uuid, prepared.fresh.to_json())
        plan = plan_of(prepared, pool, emit)
        return with_reasons(plan, prepared) if explain else plan


def with_reasons(plan: Plan, prepared: Prepared) -> Plan:
    """With the edits of those manifests that change."""
    changed = {change.resource.name for _, _, change in plan.changes() if change.resource.kind == "manifest"}
    every = prepared.cluster.patched() if prepared.cluster else []
    return replace(plan, patched=tuple(each for each in every if each.manifest in changed))


def plan_of(prepared: Prepared, pool: Pool, emit: Emit, *, texts: bool = True) -> Plan:
    """Probes all hosts and compares."""
    began = time.monotonic()
    emit(Progress(task="read", subject=f"{len(prepared.facts)} hosts"))
    planner = Planner(pool, prepared.kinds)
    inventory = str(prepared.loaded.request.inventory)
    plan = planner.plan(prepared.desired, inventory=inventory, inputs=prepared.inputs, texts=texts)
    emit(
        Step(
            task="read",
            subject=f"{plan.resources} resources",
            seconds=time.monotonic() - began,
            changed=False,
        )
    )
    if not plan.resources:
        emit(_EMPTY)
    return replace(plan, selection=_selection(prepared))


def _selection(prepared: Prepared) -> dict[str, object]:
    request = prepared.loaded.request
    return {
        "identity": prepared.fresh.uuid if prepared.fresh else None,
        "limit": request.limit,
        "tags": sorted(request.selection.tags),
        "stages": sorted(request.selection.stages),
        "playbook": str(request.playbook) if request.playbook else None,
    }
