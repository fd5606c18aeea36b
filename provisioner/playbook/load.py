"""Reads playbooks: a list of stages and `import_playbook`s. Unknown keywords are errors with the nearest known one."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from provisioner.errors import InputError, Problem
from provisioner.inventory.documents import Document, read_document
from provisioner.inventory.spelling import kind_of, said, spelt
from provisioner.inventory.words import nearest
from provisioner.playbook.model import Playbook, Stage, Task

_STAGE_WORDS = {"name", "hosts", "serial", "gate", "always", "barrier", "needs", "tags", "vars", "tasks"}
_STAGE_TYPES: tuple[tuple[str, type | tuple[type, ...]], ...] = (
    ("vars", dict), ("tasks", list), ("hosts", str), ("tags", (str, list)), ("gate", str), ("always", bool),
    ("barrier", bool), ("needs", str),
)  # fmt: skip
_TASK_WORDS = {"name", "when", "loop", "with_items", "vars", "tags", "become", "args"}
_ALIASES = {"systemd": "systemd_service", "service": "systemd_service"}
_NOT_HERE = {
    "register": "a task's result is state that is read again, there is nothing to register",
    "notify": "units restart when their inputs differ; name them in 'inputs'",
    "handlers": "units restart when their inputs differ; name them in 'inputs'",
    "delegate_to": "give the task a stage of its own with those hosts",
    "block": "use tags or a stage",
    "ignore_errors": "an error stops the host",
    "roles": "import a playbook instead",
    "gather_facts": "facts are always gathered",
    "become": "every task runs as root",
    "shell": "use 'command'",
    "apt": "use 'package'",
    "dnf": "use 'package'",
    "yum": "use 'package'",
    "include_tasks": "import a playbook instead",
    "import_tasks": "import a playbook instead",
}


def shipped(folder: str) -> Path:
    """`folder` ("playbooks", "templates") of the source tree, or of the installation. Raises InputError."""
    for root in (Path(__file__).resolve().parents[2], Path(sys.prefix) / "share" / "provision"):
        if (root / folder).is_dir():
            return root / folder
    raise InputError(
        [Problem(folder, 0, 0, "this installation of provision lacks its playbooks", "reinstall it")]
    )


def load_playbook(path: Path, modules: Collection[str]) -> Playbook:
    """All stages of `path` and what it imports. Raises InputError with every problem found."""
    problems: list[Problem] = []
    digest = hashlib.sha256()
    stages = tuple(_stages(path, modules, problems, digest, ()))
    problems += _unmet(stages)
    if problems:
        raise InputError(problems)
    roots = (path.parent, path.parent.parent) if path.is_absolute() else (path.parent, path.parent / "..")
    for root in roots:
        for file in sorted(root.glob("templates/*/*")) + sorted(root.glob("templates/*.j2")):
            if file.is_file():
                digest.update(file.read_bytes())
    return Playbook(stages, roots, digest.hexdigest())


def _unmet(stages: Sequence[Stage]) -> list[Problem]:
    """What is wrong with the stages that say what they need."""
    problems: list[Problem] = []
    for at, stage in enumerate(stages):
        before = [each.name for each in stages[:at]]
        where = (*stage.where, "needs")
        if stage.needs is None:
            continue
        if stage.needs not in before:
            near = nearest(stage.needs, before)
            hint = f"did you mean '{near}'?" if near else "name a stage that stands before this one"
            problems.append(
                stage.document.problem(where, f"'needs': no stage {said(stage.needs)} before it", hint)
            )
        if stage.serial or stage.gate or stage.barrier:
            reason = "'needs' lets hosts go ahead, 'serial', 'gate' and 'barrier' hold them"
            problems.append(stage.document.problem(where, reason, "leave one of them out"))
    return problems


def _stages(
    path: Path, modules: Collection[str], problems: list[Problem], digest: Any, within: tuple[Path, ...]
) -> Iterator[Stage]:
    document = read_document(path)
    digest.update(path.read_bytes())
    if not isinstance(document.data, list):
        reason = f"a playbook is a list of stages, this is {kind_of(document.data)}"
        problems.append(_problem(document, (), reason, "begin each stage with '- name:'"))
        return
    for index, item in enumerate(document.data):
        if isinstance(item, dict) and "import_playbook" in item:
            target = _import(document, index, item, problems, (*within, path.resolve()))
            if target is not None:
                yield from _stages(target, modules, problems, digest, (*within, path.resolve()))
        else:
            stage = _stage(document, index, item, modules, problems)
            if stage is not None:
                yield stage


def _import(
    document: Document,
    index: int,
    item: Mapping[str, Any],
    problems: list[Problem],
    within: tuple[Path, ...],
) -> Path | None:
    """The playbook that is imported; None, and a problem, when that cannot be."""
    _known(document, (index,), item, {"import_playbook", "name"}, problems)
    where, name = (index, "import_playbook"), item["import_playbook"]
    if not isinstance(name, str):
        reason = f"'import_playbook' must be a text, this is {kind_of(name)}"
        problems.append(_problem(document, where, reason, "one entry for each playbook"))
        return None
    target = Path(document.file).parent / name
    if target.resolve() in within:
        problems.append(_problem(document, where, f"{target.name} is imported in a circle"))
        return None
    if not target.is_file():
        near = nearest(target.name, sorted(path.name for path in target.parent.glob("*.y*ml")))
        hint = f"did you mean '{near}'?" if near else ""
        problems.append(_problem(document, where, f"{target.name} does not exist", hint))
        return None
    return target


def _stage(
    document: Document, index: int, item: Any, modules: Collection[str], problems: list[Problem]
) -> Stage | None:
    if not isinstance(item, dict):
        reason = f"a stage is a mapping with 'name', 'hosts' and 'tasks', this is {kind_of(item)}"
        problems.append(_problem(document, (index,), reason))
        return None
    item = _whole(document, index, item, problems)
    tags = _tags(item)
    tasks = [
        task
        for number, each in enumerate(item.get("tasks") or [])
        if (task := _task(document, (index, "tasks", number), each, modules, tags, problems))
    ]
    return Stage(
        name=str(item["name"]),
        hosts=str(item["hosts"]),
        tasks=tuple(tasks),
        document=document,
        where=(index,),
        serial=_serial(document, index, item, problems),
        gate=item.get("gate"),
        always=bool(item.get("always")),
        barrier=bool(item.get("barrier")),
        needs=item.get("needs"),
        tags=tags,
        variables=item.get("vars") or {},
    )


def _whole(document: Document, index: int, item: dict[str, Any], problems: list[Problem]) -> dict[str, Any]:
    """The stage with all that it must have, and without values of wrong types."""
    _known(document, (index,), item, _STAGE_WORDS, problems)
    meant = {nearest(str(key), _STAGE_WORDS) for key in item if key not in _STAGE_WORDS}
    for word in ("name", "hosts"):
        if word not in item and word not in meant:
            problems.append(_problem(document, (index,), f"the stage has no '{word}'", "add it here"))
    for key, kinds in _STAGE_TYPES:
        item = _checked(document, (index,), item, key, kinds, problems)
    return {"name": "", "hosts": "all", **item}


def _serial(
    document: Document, index: int, item: Mapping[str, Any], problems: list[Problem]
) -> tuple[int, ...]:
    serial = item.get("serial") or 0
    sizes = serial if isinstance(serial, list) else [serial] if serial != 0 else []
    wrong = [size for size in sizes if not isinstance(size, int) or isinstance(size, bool) or size < 1]
    if not wrong:
        return tuple(sizes)
    this = kind_of(wrong[0]) if isinstance(wrong[0], bool | list | dict) else said(wrong[0])
    reason = f"'serial' must be a count of hosts or a list of such, this is {this}"
    problems.append(
        _problem(document, (index, "serial"), reason, "such as 1 or [1, 5]; 0 or none for all at once")
    )
    return ()


def _task(
    document: Document,
    where: tuple[str | int, ...],
    item: Any,
    modules: Collection[str],
    tags: frozenset[str],
    problems: list[Problem],
) -> Task | None:
    if not isinstance(item, dict):
        problems.append(_problem(document, where, f"a task is a mapping, this is {kind_of(item)}"))
        return None
    spelt = {_ALIASES[key]: key for key in item if key in _ALIASES}
    if "loop" not in item:
        spelt["loop"] = "with_items"
    item = {_ALIASES.get(key, key): value for key, value in item.items()}
    named = [key for key in item if key in modules]
    if len(named) != 1:
        reason = (
            f"a task names one module, not {' and '.join(named)}"
            if named
            else "the task names no module, so it would do nothing"
        )
        unknown = [key for key in item if key not in _TASK_WORDS]
        _known(document, where, dict.fromkeys(unknown), set(modules) | set(_ALIASES) | _TASK_WORDS, problems)
        if named or not unknown:
            problems.append(_problem(document, where, reason))
        return None
    module = named[0]
    _known(document, where, item, _TASK_WORDS | {module}, problems)
    for key, kinds in (("vars", dict), ("tags", (str, list)), ("args", dict)):
        item = _checked(document, where, item, key, kinds, problems)
    if item.get("become") not in (None, True):
        problems.append(
            _problem(document, (*where, "become"), "every task runs as root, 'become' can only be true")
        )
    args = _args(document, where, item, module, problems)
    when = item.get("when", ())
    return Task(
        name=str(item.get("name") or module),
        module=module,
        args=args,
        where=where,
        when=tuple(str(each) for each in when) if isinstance(when, list | tuple) else (str(when),),
        loop=item.get("loop", item.get("with_items")),
        variables=item.get("vars") or {},
        tags=tags | _tags(item),
        spelt=spelt,
    )


def _args(
    document: Document,
    where: Sequence[str | int],
    item: Mapping[str, Any],
    module: str,
    problems: list[Problem],
) -> Mapping[str, Any]:
    args, more = item[module], item.get("args")
    if module == "command" and isinstance(args, str):
        return {"cmd": args, **(more or {})}
    if more:
        problems.append(
            _problem(document, (*where, "args"), f"'args' belongs to a command line, not to '{module}'")
        )
    if args is not None and not isinstance(args, dict):
        reason = f"the arguments of '{module}' must be a mapping, this is {kind_of(args)}"
        problems.append(_problem(document, (*where, module), reason, "write `{name: value, …}`"))
        return {}
    return args or {}


def _checked(
    document: Document,
    where: Sequence[str | int],
    item: dict[str, Any],
    key: str,
    kinds: type | tuple[type, ...],
    problems: list[Problem],
) -> dict[str, Any]:
    """`item` without the value of `key` when that is of another type."""
    value = item.get(key)
    if value is None or isinstance(value, kinds):
        return item
    names = " or ".join(_NAMES[kind] for kind in (kinds if isinstance(kinds, tuple) else (kinds,)))
    hint = "write one pattern, with ':' between its parts" if (key, type(value)) == ("hosts", list) else ""
    problems.append(
        _problem(document, (*where, key), f"'{key}' must be {names}, this is {kind_of(value)}", hint)
    )
    return {**item, key: None}


_NAMES: Mapping[type, str] = {dict: "a mapping", list: "a list", str: "a text", bool: "yes or no"}


def _tags(item: Mapping[str, Any]) -> frozenset[str]:
    tags = item.get("tags") or ()
    return frozenset([tags] if isinstance(tags, str) else (str(tag) for tag in tags))


def _known(
    document: Document,
    where: Sequence[str | int],
    item: Mapping[str, Any],
    known: set[str],
    problems: list[Problem],
) -> None:
    for key in item:
        if key in known:
            continue
        near = nearest(str(key).removeprefix("ansible.builtin."), known)
        hint = _NOT_HERE.get(str(key)) or (f"did you mean '{near}'?" if near else "")
        line, column = document.at((*where, key), key=True)
        problems.append(Problem(document.file, line, column, f"unknown keyword {said(spelt(key))}", hint))


def _problem(document: Document, where: Sequence[str | int], reason: str, hint: str = "") -> Problem:
    line, column = document.at(where)
    return Problem(document.file, line, column, reason, hint)
