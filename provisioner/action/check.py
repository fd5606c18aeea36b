"""`check`: the inputs, then every host by itself, then what passes between them. Changes nothing."""

from __future__ import annotations

import time

from provisioner.action.admission import all_faults, joined
from provisioner.action.between import Between
from provisioner.action.load import Request, load
from provisioner.action.prepare import compile_with, connect, gather
from provisioner.action.registryaccess import check_outside
from provisioner.engine.events import Emit, RunStarted, Step
from provisioner.errors import InputError, Problem, ProvisionError, UnreachableError


def check(request: Request, emit: Emit) -> None:
    """Raises InputError for faults of the inputs, UnreachableError, or ProvisionError with all that is wrong."""
    loaded = load(request, emit)
    spec = loaded.spec
    if spec is None:
        raise InputError([Problem(str(request.inventory), 0, 0, "there is no cluster to check it for")])
    emit(RunStarted(run=loaded.run, command="check", inventory=str(request.inventory), hosts=loaded.hosts))
    began = time.monotonic()
    with connect(loaded) as pool:
        facts = gather(loaded, pool)
        emit(_step("facts", f"{len(facts)} hosts", began))
        faults = all_faults(loaded, spec, facts, emit)
        try:  # what a cluster that runs does not let change, and all else that a plan would stop at
            check_outside(compile_with(loaded, facts, lambda _: None, for_show=True))
        except ProvisionError as fault:
            faults.append(fault)
        if spec.existing is None:  # the network there is as its builder wants it
            try:
                Between(loaded.inventory, spec, facts, list(facts)).run(pool, emit)
            except UnreachableError:
                raise
            except ProvisionError as fault:
                faults.append(fault)
    if faults:
        raise joined(faults)
    emit(_step("check", "nothing is in the way", began))


def _step(task: str, subject: str, began: float) -> Step:
    return Step(task=task, subject=subject, seconds=time.monotonic() - began, changed=False)
