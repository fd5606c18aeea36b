"""A plan for people (unified diffs) or as one JSON value."""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from provisioner.engine.patched import Patched
from provisioner.engine.plan import Plan
from provisioner.report.patched import patched_lines
from provisioner.report.tables import coloured, many
from provisioner.report.wording import Line
from provisioner.resources.model import Change, Present, Section, State, Unknown
from provisioner.resources.taken import taken

_SIGNS = {"create": "+", "update": "~", "delete": "-", "forget": ".", "claim": "."}
_MEMORY = {"forget": "is no longer ours", "claim": "is wanted by this playbook, too"}


def show_plan(plan: Plan, *, as_json: bool) -> None:
    """Prints the plan on stdout."""
    if as_json:
        sys.stdout.write(json.dumps(plan_value(plan), separators=(",", ":")) + "\n")
        return
    for line in plan_lines(plan):
        sys.stdout.write(coloured(line) + "\n")


def plan_lines(plan: Plan) -> list[Line]:
    """Stage by stage, host by host; one line a change, then its diff."""
    lines: list[Line] = []
    for stage in plan.stages:
        if stage.count:
            lines.append(
                Line(f"{stage.name}" + (f"  (then gate {stage.gate})" if stage.gate else ""), "head")
            )
        for host, changes in stage.changes.items():
            for change in changes:
                style = "delete" if change.action == "delete" else "change"
                lines.append(Line(f"  {_SIGNS[change.action]} {host}  {_title(change)}", style))
                lines += _diff(plan.texts.get((host, change.resource.id)))
                lines += patched_lines(_of(plan, change))
    deletes = sum(1 for _, _, change in plan.changes() if change.action == "delete")
    hosts = len(plan.changed_hosts())
    if not plan.resources:
        return [Line("nothing to change: nothing was selected", "warn")]
    read = many(plan.resources, "resource")
    if not plan.count:
        verb = "is" if plan.resources == 1 else "are"
        return [Line(f"nothing to change: {read} {verb} as wanted", "good")]
    where = f"{many(plan.count, 'change')} on {many(hosts, 'host')}"
    summary = f"{where} ({many(deletes, 'delete')}), {read} read"
    return [*lines, Line(summary, "head")]


def plan_value(plan: Plan) -> dict[str, Any]:
    """The plan as plain data. Secrets are not in it."""
    changes = []
    for stage, host, change in plan.changes():
        text = plan.texts.get((host, change.resource.id))
        changes.append(
            {
                "stage": stage,
                "host": host,
                "resource": change.resource.id,
                "action": change.action,
                "keys": list(change.keys),
                "before": _state(change, change.before),
                "after": _state(change, change.resource.desired),
                "diff": "\n".join(line.text.strip("\n") for line in _diff(text)) if text else None,
                **({"patches": [asdict(each) for each in _of(plan, change)]} if plan.patched else {}),
            }
        )
    gates = [stage.gate for stage in plan.stages if stage.gate]
    return {
        "event": "Plan",
        "inventory": plan.inventory,
        "inputs": plan.inputs,
        "resources": plan.resources,
        "changes": changes,
        "gates": gates,
    }


def _of(plan: Plan, change: Change) -> list[Patched]:
    """Why the change's manifest is not as its publisher has it."""
    return [each for each in plan.patched if change.resource.id == f"manifest:{each.manifest}"]


def _title(change: Change) -> str:
    if isinstance(change.before, Unknown):
        return f"{change.resource.id}  (cannot be read yet: {change.before.reason})"
    if change.action in _MEMORY:
        reason = f": {change.keys[0]}" if change.keys else ""
        return f"{change.resource.id}  ({_MEMORY[change.action]}{reason})"
    if told := taken(change):
        return f"{change.resource.id}  ({told})"
    if change.action != "update" or not isinstance(change.before, Present):
        return change.resource.id
    return f"{change.resource.id}  ({_differences(change, change.before)})"


def _differences(change: Change, before: Present) -> str:
    desired = change.resource.desired
    if change.resource.secret or not isinstance(desired, Present):
        return ", ".join(change.keys)
    parts = []
    for key in change.keys:
        old, new = before.attrs.get(key), desired.attrs[key]
        long = len(f"{old}{new}") > 36
        parts.append(key if long else f"{key}: {_word(old)} → {_word(new)}")
    return ", ".join(parts)


def _word(value: object) -> str:
    return {"True": "yes", "False": "no", "None": "none"}.get(str(value), str(value))


def _diff(sections: Sequence[Section] | None) -> list[Line]:
    return [line for section in sections or () for line in _section(section)]


def _section(section: Section) -> list[Line]:
    if section.before == section.after:
        return []
    before, after = section.before.splitlines(), section.after.splitlines()
    lines = [Line(f"      {section.title}", "head")] if section.title else []
    for line in list(difflib.unified_diff(before, after, "before", "after", lineterm="", n=2))[2:]:
        style = {"+": "good", "-": "delete", "@": "dim"}.get(line[:1], "")
        lines.append(Line(f"      {line}", style))
    return lines


def _state(change: Change, state: State) -> Any:
    if isinstance(state, Unknown):
        return {"unknown": state.reason}
    if not isinstance(state, Present):
        return None
    if change.resource.secret:
        return {key: "(secret)" if key == "sha256" else value for key, value in state.attrs.items()}
    return dict(state.attrs)
