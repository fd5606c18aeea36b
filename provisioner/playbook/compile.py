"""Stages and a host's variables → that host's resources. Pure: nothing is read but templates and local files."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from provisioner.errors import InputError, Problem
from provisioner.inventory.spelling import kind_of
from provisioner.inventory.templatefaults import TemplateFaultError
from provisioner.playbook.model import Playbook, Selection, Stage, Task
from provisioner.playbook.render import evaluate, failing, render_file, render_value
from provisioner.resources.model import Module, Resource
from provisioner.resources.task import TaskCall


@dataclass(frozen=True)
class Compiler:
    """Compiles one playbook. `modules` by the name that a task calls them by."""

    playbook: Playbook
    modules: Mapping[str, Module]
    selection: Selection = field(default_factory=Selection)

    def stage(self, stage: Stage, host: str, variables: Mapping[str, Any]) -> tuple[Resource, ...]:
        """The resources of `stage` on `host`, in order. Raises InputError with every problem found."""
        resources: dict[str, Resource] = {}
        problems: list[Problem] = []
        context = {**variables, **self._stage_variables(stage, variables)}
        for task in stage.tasks:
            if not self.selection.wants_task(task):
                continue
            try:
                for resource in self._task(stage, task, host, context):
                    if resources.setdefault(resource.id, resource).desired != resource.desired:
                        reason = f"wants {resource.id} differently than a task before it in this stage"
                        raise _error(stage, task, (task.module,), reason)
                    resources[resource.id] = resource
            except InputError as fault:
                problems.extend(fault.problems)
        if problems:
            raise InputError(problems)
        return tuple(resources.values())

    def _stage_variables(self, stage: Stage, variables: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            rendered: Mapping[str, Any] = render_value(dict(stage.variables), variables)
        except TemplateFaultError as fault:
            where = ("vars", *failing(dict(stage.variables), variables))
            reason = f"stage '{stage.name}': {_told(where, fault)}"
            raise InputError([stage.document.problem((*stage.where, *where), reason, fault.hint)]) from None
        return rendered

    def _task(self, stage: Stage, task: Task, host: str, context: Mapping[str, Any]) -> Iterator[Resource]:
        module = self.modules[task.module]
        for variables in self._items(stage, task, context):
            if not all(self._holds(stage, task, index, variables) for index in range(len(task.when))):
                continue
            secret = task.args.get("secret") is True
            args = self._rendered(stage, task, task.module, dict(task.args), variables, reveals=secret)
            yield from module.build(self._call(stage, task, host, args, variables))

    def _items(self, stage: Stage, task: Task, context: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        variables = {**context, **self._rendered(stage, task, "vars", dict(task.variables), context)}
        if task.loop is None:
            yield variables
            return
        items = self._rendered(stage, task, "loop", task.loop, variables)
        if not isinstance(items, Collection) or isinstance(items, str | Mapping):
            raise self._no_list(stage, task, items, variables)
        for item in items:
            yield {**variables, "item": item}

    def _rendered(
        self,
        stage: Stage,
        task: Task,
        key: str,
        value: Any,
        variables: Mapping[str, Any],
        *,
        reveals: bool = False,
    ) -> Any:
        try:
            return render_value(value, variables, reveals=reveals)
        except TemplateFaultError as fault:
            where = (key, *failing(value, variables, reveals=reveals))
            raise _error(stage, task, where, _told(where, fault), fault.hint) from None

    def _holds(self, stage: Stage, task: Task, index: int, variables: Mapping[str, Any]) -> bool:
        try:
            return bool(evaluate(task.when[index], variables))
        except TemplateFaultError as fault:
            raise _error(stage, task, ("when", index), f"when: {fault.reason}", fault.hint) from None

    def _no_list(self, stage: Stage, task: Task, items: Any, variables: Mapping[str, Any]) -> InputError:
        hint = ""
        if isinstance(items, str) and isinstance(variables.get(items), list | tuple):
            hint = f'write "{{{{ {items} }}}}"'
        if isinstance(items, Mapping):
            hint = "the pairs of a mapping are its .items() | list"
        reason = f"'{task.spelt.get('loop', 'loop')}' needs a list, this is {kind_of(items)}"
        return _error(stage, task, ("loop",), reason, hint)

    def _call(
        self, stage: Stage, task: Task, host: str, args: Mapping[str, Any], variables: Mapping[str, Any]
    ) -> TaskCall:
        def locate(key: str | None) -> tuple[str, int, int]:
            where = _written(task, (task.module, key)) if key is not None else task.where
            return (stage.document.file, *stage.document.at(where))

        def render(path: Path) -> str:
            try:
                return render_file(path, variables, reveals=args.get("secret") is True)
            except TemplateFaultError as fault:
                place = (str(path), fault.line, fault.column)
                raise InputError([Problem(*place, fault.reason, fault.hint)]) from None
            except OSError as fault:
                raise InputError([Problem(str(path), 0, 0, f"cannot be read: {fault.strerror}")]) from None

        return TaskCall(task.module, args, host, locate, self._find, render, self._names)

    def _names(self, folder: str) -> list[str]:
        below = [root / folder for root in self.playbook.roots]
        return [
            str(path.relative_to(each))
            for each in below
            for path in sorted(each.rglob("*"))
            if path.is_file()
        ]

    def _find(self, folder: str, name: str) -> Path | None:
        given = Path(name)
        candidates = (
            [given] if given.is_absolute() else [root / folder / name for root in self.playbook.roots]
        )
        # isfile: a name may be too long to ask for.
        return next((path for path in candidates if os.path.isfile(path)), None)  # noqa: PTH113


def _told(where: Sequence[str | int], fault: TemplateFaultError) -> str:
    """The fault with the name of what has it; and with its line, which is not the document's, in a text of several."""
    name = next(str(step) for step in reversed(where) if isinstance(step, str))
    return f"{name}: {f'its line {fault.line}: ' if fault.line > 1 else ''}{fault.reason}"


def _written(task: Task, where: Sequence[str | int]) -> tuple[str | int, ...]:
    """The place in the document: some keywords have several names."""
    first, *rest = where
    return (*task.where, task.spelt.get(str(first), first), *rest)


def _error(stage: Stage, task: Task, where: Sequence[str | int], reason: str, hint: str = "") -> InputError:
    place = _written(task, where)
    return InputError([stage.document.problem(place, f"task '{task.name}': {reason}", hint)])
