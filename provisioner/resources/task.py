"""A playbook task as a kind sees it: rendered arguments, positions for errors, files beside the playbook."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from provisioner.errors import InputError, Problem
from provisioner.inventory.words import nearest


@dataclass(frozen=True)
class TaskCall:
    """`module` with its rendered `args` for one `host` (and one loop item).

    `locate(key)` gives (file, line, column) of an argument, or of the task for None.
    `find(folder, name)` gives the path of a file below files/ or templates/; `render(path)` renders a template.
    """

    module: str
    args: Mapping[str, Any]
    host: str
    locate: Callable[[str | None], tuple[str, int, int]] = field(repr=False)
    find: Callable[[str, str], Path | None] = field(repr=False)
    render: Callable[[Path], str] = field(repr=False)

    def error(self, reason: str, hint: str = "", key: str | None = None) -> InputError:
        """An InputError at the argument `key`, or at the task."""
        file, line, column = self.locate(key)
        return InputError([Problem(file, line, column, f"{self.module}: {reason}", hint)])

    def check(self, required: Mapping[str, type | tuple[type, ...]], optional: Mapping[str, Any]) -> None:
        """Refuses unknown, missing and wrongly typed arguments. Raises InputError."""
        known = {**required, **optional}
        for key, value in self.args.items():
            if key not in known:
                near = nearest(key, known)
                raise self.error(f"unknown argument '{key}'", f"did you mean '{near}'?" if near else "", key)
            wanted = known[key]
            if value is not None and not isinstance(value, wanted):
                names = wanted if isinstance(wanted, tuple) else (wanted,)
                want = " or ".join(kind.__name__ for kind in names)
                raise self.error(f"'{key}' must be {want}, not {type(value).__name__}", "", key)
        for key in required:
            if self.args.get(key) is None:
                raise self.error(f"needs the argument '{key}'")

    def mode(self, default: str, key: str = "mode") -> str:
        """A file mode as four octal digits without the leading zero ("755")."""
        value = str(self.args.get(key, default))
        digits = value[1:] if value.startswith("0") and len(value) > 1 else value
        if not (1 <= len(digits) <= 4 and all(digit in "01234567" for digit in digits)):
            raise self.error(f"'{value}' is no file mode", 'write octal digits in quotes, as "0644"', key)
        return digits.lstrip("0") or "0"

    def path(self, key: str) -> str:
        """An absolute path without a newline, `.` or `..`."""
        value = str(self.args[key])
        bad = not value.startswith("/") or "\n" in value or "\\" in value
        if bad or any(part in {".", ".."} for part in value.split("/")):
            raise self.error(f"'{value}' is no absolute path without '..'", "", key)
        return value.rstrip("/") or "/"
