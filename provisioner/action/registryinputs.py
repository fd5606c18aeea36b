"""What the spec says of a registry outside, before any host is reached: its files and variables are there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from provisioner.errors import InputError, Problem, ProvisionError

if TYPE_CHECKING:
    from provisioner.inventory.model import Inventory
    from provisioner.spec.model import Registry


def check_registry_inputs(inventory: Inventory, registry: Registry) -> None:
    """Raises InputError, at the spec's value. A password's command is not run for it: that may be asked of people."""
    if registry.ca is not None:
        from provisioner.action.registrytrust import authority_in

        try:
            authority_in(Path(registry.ca), "relative paths count from the inventory's folder")
        except ProvisionError as fault:
            where = inventory.origin(None, "cluster", "registry", "ca")
            raise InputError([Problem(*where, f"ca: {fault.reason}", fault.hint)]) from None
    if registry.password is not None and registry.password.kind in ("env", "file"):
        registry.password.reveal()
