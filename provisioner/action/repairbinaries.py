"""Plug-ins' files come back to a node of ours: by the stage that has put them there, and nothing else of it."""

from __future__ import annotations

from dataclasses import replace

from provisioner.action.load import Loaded
from provisioner.action.plan import plan_of
from provisioner.action.prepare import compile_with, gather
from provisioner.engine.events import Emit, Event, Note
from provisioner.engine.execute import Executor
from provisioner.engine.hostwork import HostWork
from provisioner.engine.ownership import Ownership
from provisioner.engine.plan import Plan
from provisioner.errors import ProvisionError
from provisioner.playbook.model import Selection
from provisioner.remote.pool import Pool
from provisioner.resources.model import Change

STAGE = "node binaries"
"""In playbooks/nodes.yaml."""


def put_back(loaded: Loaded, pool: Pool, host: str, folder: str, emit: Emit) -> None:
    """Unpacks the bundle's plug-ins into `folder` of a host again. Raises ProvisionError when that failed, or nothing
    is to be put there."""
    request = replace(loaded.request, limit=host, selection=Selection(stages=frozenset({STAGE})))
    part = replace(loaded, request=request)

    def quiet(event: Event) -> None:
        if isinstance(event, Note):
            emit(event)

    prepared = compile_with(part, gather(part, pool), quiet)
    plan = _only(plan_of(prepared, pool, quiet, texts=False), folder)
    if not plan.count:
        raise ProvisionError(f"the bundle has nothing for {folder} that is not there already")
    memory = prepared.memory
    ownership = Ownership(loaded.run, memory.playbook, memory.owned, prepared.kinds)
    work = HostWork(pool, prepared.kinds, quiet, loaded.run, ownership=ownership)
    outcome = Executor(work, {}, quiet).run(plan)
    if not outcome.ok:
        failure = outcome.failures[0]
        raise ProvisionError(f"{failure.resource}: {failure.reason}", failure.hint)


def _only(plan: Plan, folder: str) -> Plan:
    """Its archives for that folder, and no gate."""

    def chosen(change: Change) -> bool:
        return change.resource.kind == "unarchive" and change.resource.spec.get("dest") == folder

    stages = tuple(
        replace(stage, gate=None, changes=kept)
        for stage in plan.stages
        if (
            kept := {
                host: left
                for host, changes in stage.changes.items()
                if (left := tuple(filter(chosen, changes)))
            }
        )
    )
    return replace(plan, stages=stages)
