"""Where a lab on this machine keeps its key, its known hosts and its state."""

from __future__ import annotations

import re
from pathlib import Path

from provisioner.errors import InputError, Problem
from provisioner.inventory.model import Inventory
from provisioner.inventory.spelling import said

NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,61}[A-Za-z0-9])?")


def lab_directory(name: str) -> Path:
    """The folder of the lab `name` under the user's state folder; it need not exist."""
    from platformdirs import user_state_path  # imported here: it costs 18 ms, and few commands need it

    return user_state_path("provision") / "labs" / name


def lab_names() -> list[str]:
    """The labs of this user, up or half-dead, by name."""
    folder = lab_directory("any").parent
    return sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def lab_of(inventory: Inventory) -> Path | None:
    """The folder of the lab that the inventory's hosts belong to, None when they are no lab's.

    Raises InputError for a name that cannot be one: a folder outside would be trusted for keys.
    """
    lab = inventory.variables.get("lab")
    if not isinstance(lab, dict):
        return None
    name = lab.get("name", "lab")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        reason = f"lab.name: {said(name)} is not a lab's name"
        where = inventory.origin(None, "lab", "name")
        raise InputError([Problem(*where, reason, "a text of letters, digits, dots and dashes")])
    return lab_directory(name)
