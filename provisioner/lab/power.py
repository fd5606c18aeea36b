"""Switching one host of a lab off, as a power cut does, and on again. The host's disk stays."""

from __future__ import annotations

from provisioner.errors import ProvisionError
from provisioner.lab import host as hosts
from provisioner.lab import network
from provisioner.lab.host import inspect
from provisioner.lab.locks import lab_lock, locked
from provisioner.lab.plan import LabPlan
from provisioner.lab.requirements import require_machine
from provisioner.lab.up import layers_of


def power_off(plan: LabPlan, host: str) -> None:
    """Cuts the host's link, then kills it, then deletes its namespace. A host that is off stays off."""
    _require(plan, host)
    with locked(lab_lock(plan.names.key)):
        hosts.stop(plan, host)


def power_on(plan: LabPlan, host: str) -> None:
    """Starts the host on its own disk and returns when SSH answers. A host that runs is left alone.

    Raises ProvisionError when the lab is not up, UnreachableError when the host does not come up.
    """
    _require(plan, host)
    with locked(lab_lock(plan.names.key)):
        layers = layers_of(plan)
        if not network.switch_is_up(plan):
            raise ProvisionError(f"the network of the lab {plan.name} is broken", "provision lab up")
        if not inspect(plan, host).well:
            hosts.stop(plan, host)
            hosts.start(plan, host, layers)


def _require(plan: LabPlan, host: str) -> None:
    require_machine()
    if host not in plan.hosts:
        raise ProvisionError(f"the lab {plan.name} has no host {host}", f"it has: {', '.join(plan.hosts)}")
