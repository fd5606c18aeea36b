"""What a run is limited to, checked before any host or the bundle is looked at."""

from __future__ import annotations

from collections.abc import Iterator

from provisioner.errors import InputError, Problem
from provisioner.inventory.model import Inventory
from provisioner.inventory.words import nearest
from provisioner.playbook.model import Playbook, Selection


def check_choice(selection: Selection, limit: str | None, playbook: Playbook, inventory: Inventory) -> None:
    """A misspelt stage or tag would select nothing, and that would pass for success.

    Raises InputError with every name that stands for nothing, and the nearest that does.
    """
    problems = list(_unknown(selection, playbook))
    if limit is not None:
        try:
            inventory.match(limit)
        except InputError as fault:
            problems += [Problem("--limit", 0, 0, each.reason, each.hint) for each in fault.problems]
    if problems:
        raise InputError(problems)


def _unknown(selection: Selection, playbook: Playbook) -> Iterator[Problem]:
    names = {stage.name for stage in playbook.stages}
    of_stages = {tag for stage in playbook.stages for tag in stage.tags}
    tags = of_stages | {tag for stage in playbook.stages for task in stage.tasks for tag in task.tags}
    component = [] if selection.component is None else [selection.component]
    for place, wanted, known in (
        ("--stage", selection.stages, names),
        ("--tags", selection.tags, tags),
        ("COMPONENT", component, names | of_stages),
    ):
        for name in sorted(set(wanted) - known):
            near = nearest(name, sorted(known))
            hint = f"did you mean '{near}'?" if near else f"there are: {', '.join(sorted(known))}"
            yield Problem(place, 0, 0, f"the playbook has no '{name}'", hint)
