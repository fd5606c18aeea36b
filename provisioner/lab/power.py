"""What can happen to one host of a lab: its power goes, as in a power cut, and comes back; its link is cut, and heals.

The host's disk stays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from provisioner.errors import ProvisionError
from provisioner.lab import host as hosts
from provisioner.lab import network
from provisioner.lab.host import first_process, inspect
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
            raise ProvisionError(f"the network of the lab {plan.name} is broken", plan.command("up"))
        if not inspect(plan, host).well:
            hosts.stop(plan, host)
            hosts.start(plan, host, layers)


def cut(plan: LabPlan, host: str) -> None:
    """Cuts the host's link; the host runs on. Raises ProvisionError when it is off, or the lab not up."""
    _plug(plan, host, linked=False)


def heal(plan: LabPlan, host: str) -> None:
    """Mends the link that was cut. Raises ProvisionError when the host is off, or the lab not up."""
    _plug(plan, host, linked=True)


def _plug(plan: LabPlan, host: str, *, linked: bool) -> None:
    _require(plan, host)
    with locked(lab_lock(plan.names.key)):
        if not first_process(plan, host):
            layers_of(plan)  # where there is no lab at all, that is said
            raise ProvisionError(f"{host} is off", plan.command("fault", host, "power-on"))
        network.plug(plan, host, linked=linked)


FAULTS: Mapping[str, Callable[[LabPlan, str], None]] = {
    "cut": cut,
    "heal": heal,
    "power-off": power_off,
    "power-on": power_on,
}
"""By the names that the command line has for them."""


def _require(plan: LabPlan, host: str) -> None:
    require_machine()
    if host not in plan.hosts:
        raise ProvisionError(f"the lab {plan.name} has no host {host}", f"it has: {', '.join(plan.hosts)}")
