"""A playbook task as a kind sees it: rendered arguments, positions for errors, files beside the playbook."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from provisioner.errors import InputError, Problem
from provisioner.inventory.spelling import kind_of, said, spelt
from provisioner.inventory.words import nearest


@dataclass(frozen=True)
class TaskCall:
    """`module` with its rendered `args` for one `host` (and one loop item).

    `locate(key)` gives (file, line, column) of an argument, or of the task for None.
    `find(folder, name)` gives the path of a file below files/ or templates/, `names(folder)` the names of all there;
    `render(path)` renders a template.
    """

    module: str
    args: Mapping[str, Any]
    host: str
    locate: Callable[[str | None], tuple[str, int, int]] = field(repr=False)
    find: Callable[[str, str], Path | None] = field(repr=False)
    render: Callable[[Path], str] = field(repr=False)
    names: Callable[[str], Sequence[str]] = field(repr=False, default=lambda _folder: ())

    def error(self, reason: str, hint: str = "", key: str | None = None) -> InputError:
        """An InputError at the argument `key`, or at the task."""
        file, line, column = self.locate(key)
        return InputError([Problem(file, line, column, f"{self.module}: {reason}", hint)])

    def check(self, required: Mapping[str, type | tuple[type, ...]], optional: Mapping[str, Any]) -> None:
        """Refuses unknown, missing and wrongly typed arguments. Raises InputError."""
        known = {**required, **optional}
        for key, value in self.args.items():
            if key not in known:
                near = nearest(str(key), known)
                raise self.error(
                    f"unknown argument {said(spelt(key))}", f"did you mean '{near}'?" if near else "", key
                )
            if value is not None and not _is_a(value, known[key]):
                raise self.error(f"'{key}' must be {_names(known[key])}, not {kind_of(value)}", "", key)
        for key in required:
            if self.args.get(key) is None:
                raise self.error(f"needs the argument '{key}'")

    def source(self, folder: str) -> Path:
        """The file that the argument 'src' names, below `folder`. Raises InputError."""
        name = str(self.args["src"])
        path = self.find(folder, name)
        if path is None:
            near = nearest(name, self.names(folder))
            raise self.error(
                f"{said(name)} is not below {folder}/", f"did you mean '{near}'?" if near else "", "src"
            )
        return path

    def mode(self, default: str, key: str = "mode") -> str:
        """A file mode as up to four octal digits without leading zeros ("755").

        A number is refused: YAML reads 0644 as 420, and nobody can tell afterwards what was written.
        """
        value = self.args.get(key)
        value = default if value is None else value
        if not isinstance(value, str):
            raise self.error(f"'{key}' is the number {value}", 'write octal digits in quotes, as "0644"', key)
        digits = value[1:] if value.startswith("0") and len(value) > 1 else value
        if not (1 <= len(digits) <= 4 and all(digit in "01234567" for digit in digits)):
            raise self.error(f"'{value}' is no file mode", 'write octal digits in quotes, as "0644"', key)
        return digits.lstrip("0") or "0"

    def path(self, key: str) -> str:
        """The argument `key` as a path, see `absolute`."""
        return self.absolute(str(self.args[key]), key)

    def absolute(self, value: str, key: str) -> str:
        """An absolute path without `.`, `..`, doubled slashes, backslashes and control characters.

        Raises InputError at the argument `key`.
        """
        parts = value.split("/")
        if not value.startswith("/") or {".", ".."} & set(parts):
            raise self.error(f"'{value}' is no absolute path without '..'", "", key)
        if _REFUSED.search(value):
            raise self.error(f"{value!r} has a backslash or a control character in it", "", key)
        return "/" + "/".join(part for part in parts if part)


_REFUSED = re.compile(r"[\\\x00-\x1f\x7f]")
"""In paths: what the tools of the hosts print in an escaped form."""

_NAMES = {
    str: "a text",
    int: "a number",
    bool: "yes or no",
    list: "a list",
    tuple: "a list",
    dict: "a mapping",
}


def _is_a(value: object, wanted: type | tuple[type, ...]) -> bool:
    kinds = wanted if isinstance(wanted, tuple) else (wanted,)
    return isinstance(value, kinds) and (not isinstance(value, bool) or bool in kinds)


def _names(wanted: type | tuple[type, ...]) -> str:
    kinds = wanted if isinstance(wanted, tuple) else (wanted,)
    return " or ".join(dict.fromkeys(_NAMES[kind] for kind in kinds))
