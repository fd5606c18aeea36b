"""What `lab up` writes beside the lab for people, other programs and `lab down NAME`: lab.json.

It is a memory of names, not the truth about what runs: that is asked of the kernel each time.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from ipaddress import IPv4Network
from pathlib import Path

from provisioner.lab.plan import LabPlan


@dataclass(frozen=True)
class LabState:
    """A lab that is up. `layers` are the read-only directories below every host's overlay, top first."""

    name: str
    subnet: str
    hosts: dict[str, str]
    suite: str
    packages: list[str]
    layers: list[str]
    bridge: str
    namespaces: list[str]
    pids: dict[str, int]
    bare: bool = False


def path(plan: LabPlan) -> Path:
    return plan.directory / "lab.json"


def write(plan: LabPlan, state: LabState) -> None:
    """Replaces lab.json if it differs."""
    text = json.dumps(asdict(state), indent=2) + "\n"
    target = path(plan)
    if not target.exists() or target.read_text() != text:
        temporary = target.with_name(".lab.json.new")
        temporary.write_text(text)
        temporary.rename(target)


def read(directory: Path) -> LabState | None:
    """The state that the lab in `directory` was left in; None when none can be read."""
    try:
        return LabState(**json.loads((directory / "lab.json").read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def subnet_of(directory: Path) -> IPv4Network | None:
    """The subnet of the lab in `directory`; None when there is no such lab, or none that can be read."""
    state = read(directory)
    try:
        return IPv4Network(state.subnet) if state is not None else None
    except ValueError:
        return None
