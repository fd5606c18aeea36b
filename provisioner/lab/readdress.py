"""A lab whose hosts run stays in its subnet: a cluster on them does not live through other addresses."""

from __future__ import annotations

from provisioner.errors import InputError, Problem
from provisioner.lab import cgroups, state
from provisioner.lab.plan import LabPlan


def check_subnet(plan: LabPlan) -> None:
    """Raises InputError when hosts of the lab run in another subnet than the plan's. Changes nothing."""
    there = state.subnet_of(plan.directory)
    if there is None or there == plan.subnet or not _runs(plan):
        return
    reason = f"its hosts run in {there}, and {plan.subnet} is asked for"
    hint = f"keep to {there}, or take the lab away first: provision lab down --name {plan.name}"
    raise InputError([Problem(f"lab {plan.name}", 0, 0, reason, hint)])


def _runs(plan: LabPlan) -> bool:
    key = plan.names.cgroup
    return any(cgroups.processes(cgroups.groups(key, name, cgroups.BOX)) for name in cgroups.hosts(key))
