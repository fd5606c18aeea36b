"""Stages and a host's variables → that host's resources. Pure: nothing is read but templates and local files."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2

from provisioner.errors import InputError, Problem
from provisioner.playbook.model import Playbook, Selection, Stage, Task
from provisioner.playbook.render import evaluate, render_file, render_value
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
                        raise _error(stage, task, task.module, reason)
                    resources[resource.id] = resource
            except InputError as fault:
                problems.extend(fault.problems)
        if problems:
            raise InputError(problems)
        return tuple(resources.values())

    def _stage_variables(self, stage: Stage, variables: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            rendered: Mapping[str, Any] = render_value(dict(stage.variables), variables)
        except _FAULTS as fault:
            line, column = stage.document.at((*stage.where, "vars"))
            reason = f"stage '{stage.name}': vars: {_said(fault)}"
            raise InputError([Problem(stage.document.file, line, column, reason)]) from None
        return rendered

    def _task(self, stage: Stage, task: Task, host: str, context: Mapping[str, Any]) -> Iterator[Resource]:
        module = self.modules[task.module]
        for variables in self._items(stage, task, context):
            if not all(self._rendered(stage, task, "when", each, variables, bare=True) for each in task.when):
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
            raise _error(stage, task, "loop", f"'loop' needs a list, not {type(items).__name__}")
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
        bare: bool = False,
        reveals: bool = False,
    ) -> Any:
        try:
            return evaluate(value, variables) if bare else render_value(value, variables, reveals=reveals)
        except _FAULTS as fault:
            raise _error(stage, task, key, f"{key}: {_said(fault)}") from None

    def _call(
        self, stage: Stage, task: Task, host: str, args: Mapping[str, Any], variables: Mapping[str, Any]
    ) -> TaskCall:
        def locate(key: str | None) -> tuple[str, int, int]:
            where = (*task.where, task.module, key) if key else task.where
            return (stage.document.file, *stage.document.at(where))

        def render(path: Path) -> str:
            try:
                return render_file(path, variables, reveals=args.get("secret") is True)
            except jinja2.TemplateSyntaxError as fault:
                raise InputError([Problem(str(path), fault.lineno, 1, str(fault.message))]) from None
            except (*_FAULTS, OSError) as fault:
                raise InputError([Problem(str(path), _line(fault, path), 1, _said(fault))]) from None

        return TaskCall(task.module, args, host, locate, self._find, render)

    def _find(self, folder: str, name: str) -> Path | None:
        given = Path(name)
        candidates = (
            [given] if given.is_absolute() else [root / folder / name for root in self.playbook.roots]
        )
        return next((path for path in candidates if path.is_file()), None)


_FAULTS = (jinja2.TemplateError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What expressions raise: Jinja2's own errors and those of the values that they work on."""


def _said(fault: Exception) -> str:
    return (fault.message if isinstance(fault, jinja2.TemplateError) else str(fault)) or type(fault).__name__


def _line(fault: BaseException, path: Path) -> int:
    """The template's line in the traceback of a rendering error."""
    line, trace = 1, fault.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def _error(stage: Stage, task: Task, key: str, reason: str) -> InputError:
    line, column = stage.document.at((*task.where, key))
    return InputError([Problem(stage.document.file, line, column, f"task '{task.name}': {reason}")])
