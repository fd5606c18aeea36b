"""The one tree of exceptions. Each carries a reason, a hint that mends it and an exit code.

Exit codes: 1 failed, 3 the input is wrong, 4 hosts unreachable, 5 locked by another run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class ProvisionError(Exception):
    """Something failed. `hint` says what mends it; it may be empty.

    `unchanged`: this ended a run before its first change; `resume` is then the command that takes it up, "" where that
    would be of no use.
    """

    exit_code = 1

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint
        self.unchanged = False
        self.resume = ""


@dataclass(frozen=True, order=True)
class Problem:
    """One fault in an input file. `line` and `column` count from 1; 0 means that the file as a whole is meant."""

    file: str
    line: int
    column: int
    reason: str
    hint: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{where}: {self.reason}" + (f" ({self.hint})" if self.hint else "")


class InputError(ProvisionError):
    """The inventory, the spec, a playbook or an argument is wrong. Carries every problem that was found."""

    exit_code = 3

    def __init__(self, problems: Sequence[Problem], hint: str = "") -> None:
        self.problems = tuple(sorted(set(problems)))
        super().__init__("\n".join(str(problem) for problem in self.problems), hint)


class ConsentError(ProvisionError):
    """A run would do what nobody agreed to."""


class DeclinedError(ConsentError):
    """Somebody was asked, and said no."""


class UnreachableError(ProvisionError):
    """A host could not be reached or logged in to, or its connection was lost."""

    exit_code = 4


class LockedError(ProvisionError):
    """Another run holds the lock. The reason names the holder."""

    exit_code = 5
