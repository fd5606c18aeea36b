"""Values that must not show: masked wherever they are printed, fetched only when they are used."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

from provisioner.errors import InputError, Problem

MASK = "********"
KINDS = ("env", "file", "command")
COMMAND_TIMEOUT = 30.0
"""Seconds that a secret's command may take; it must not wait for a person."""


class Secret:
    """A secret and where it comes from. `str`, `repr` and `format` show a mask; `reveal` gives the value.

    `kind` is env, file, command or text (written plainly in the inventory). Not a dataclass, because
    `dataclasses.asdict` would hand the plain text to every report.
    """

    __slots__ = ("_base", "_column", "_file", "_line", "_source", "kind")

    def __init__(
        self, kind: str, source: str, *, base: Path = Path(), file: str = "", line: int = 0, column: int = 0
    ) -> None:
        self.kind = kind
        self._source = source
        self._base = base
        self._file, self._line, self._column = file, line, column

    @staticmethod
    def text(value: str) -> Secret:
        return Secret("text", value)

    def reveal(self) -> str:
        """The value, without one trailing newline. Raises InputError when its source does not give it."""
        if self.kind == "env":
            return self._from_environment()
        if self.kind == "file":
            return self._from_file()
        if self.kind == "command":
            return self._from_command()
        return self._source

    def _from_environment(self) -> str:
        value = os.environ.get(self._source)
        if value is None:
            raise self._problem(f"the environment variable {self._source} is not set", "export it first")
        return value

    def _from_file(self) -> str:
        path = self._base / Path(self._source).expanduser()
        try:
            return path.read_text(encoding="utf-8").removesuffix("\n")
        except UnicodeDecodeError:
            raise self._problem(f"the secret's file {path} is not UTF-8", "save it as UTF-8") from None
        except (OSError, ValueError) as error:
            why = (error.strerror if isinstance(error, OSError) else None) or str(error)
            # Without a line it was given on the command line.
            hint = "relative paths count from the folder of the file that names it" if self._line else ""
            raise self._problem(f"the secret's file {path} cannot be read: {why}", hint) from None

    def _from_command(self) -> str:
        try:
            done = subprocess.run(
                shlex.split(self._source),
                cwd=self._base,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                timeout=COMMAND_TIMEOUT,
                check=True,
            )
            return done.stdout.decode("utf-8").removesuffix("\n")
        except UnicodeDecodeError:
            raise self._problem(
                "the secret's command printed something that is not UTF-8", "let it print text"
            ) from None
        except subprocess.TimeoutExpired:
            reason = f"the secret's command took longer than {COMMAND_TIMEOUT:.0f} s"
            raise self._problem(reason, "it must not wait for a person") from None
        except subprocess.CalledProcessError as error:
            reason = f"the secret's command failed with exit status {error.returncode}"
            raise self._problem(reason, f"run it by hand: {self._source}") from None
        except OSError as error:
            reason = f"the secret's command cannot be run: {error.filename}: {error.strerror}"
            raise self._problem(reason, "name an installed program, or its whole path") from None
        except ValueError as error:
            raise self._problem(
                f"the secret's command cannot be split into words: {error}", "mend its quotes"
            ) from None

    def _problem(self, reason: str, hint: str) -> InputError:
        return InputError([Problem(self._file, self._line, self._column, reason, hint)])

    def __repr__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def _identity(self) -> tuple[str, str, Path]:
        return (self.kind, self._source, self._base)
