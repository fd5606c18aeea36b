"""The corpus of broken input: cases under tests/data, and what a user is told of each, to the letter.

A case has a `name`, its input, and `says`: the whole text on stderr. The input is one of

    replace: {OLD: NEW, …}    tests/data/spec/base.yaml with these texts replaced, each once
    text: …                   a whole file
    files: {NAME: …, …}       several; bytes as !!binary

and is read as its table says: as the cluster of an inventory, as an inventory alone, or as a playbook. `read` names
another file than inventory.yaml, `pattern` a host pattern to match, `reveal` a variable whose secret is wanted.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from provisioner.action.kinds import base_modules
from provisioner.errors import InputError
from provisioner.inventory.model import load_inventory
from provisioner.inventory.secrets import Secret
from provisioner.playbook.compile import Compiler
from provisioner.playbook.load import load_playbook
from provisioner.playbook.model import Selection
from provisioner.report.faults import tell
from provisioner.spec.load import load_cluster

DATA = Path(__file__).parents[1] / "data"
BASE = (DATA / "spec" / "base.yaml").read_text(encoding="utf-8")
INPUTS = ("replace", "text", "files")
KEYS = frozenset({"name", *INPUTS, "says", "read", "pattern", "reveal"})
_PASSWORD = Secret.text("hunter2")
VARIABLES = {
    "word": "w", "items": [1, 2], "flag": True, "number": 3, "empty": None,
    "password": _PASSWORD, "deep": {"password": _PASSWORD},
}  # fmt: skip
"""What the playbooks of the tests may use."""


@dataclass(frozen=True)
class Broken:
    """One case. `table` is its file below tests/data without the suffix ("spec/keys")."""

    table: str
    name: str
    says: str
    raw: Mapping[str, Any] = field(repr=False)

    def __str__(self) -> str:
        return f"{self.table}: {self.name}"

    @property
    def main(self) -> str:
        """The file that is read."""
        return str(
            self.raw.get("read", "book.yaml" if self.table.startswith("playbook/") else "inventory.yaml")
        )

    def write(self, folder: Path) -> None:
        """Writes the input's files into `folder`."""
        files = self.raw.get("files") or {
            self.main: self.raw.get("text", slipped(self.raw.get("replace", {})))
        }
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())


def slipped(replace: Mapping[str, str]) -> str:
    """The base inventory with slips."""
    text = BASE
    for old, new in replace.items():
        assert old in text, f"the case replaces '{old}', which is not in the base"
        text = text.replace(old, new, 1)
    return text


def _load_cluster(path: Path, _case: Broken) -> None:
    load_cluster(path)


def _load_and_match(path: Path, case: Broken) -> None:
    inventory = load_inventory(path)
    if "pattern" in case.raw:
        inventory.match(case.raw["pattern"])
    if "reveal" in case.raw:
        inventory.variables[case.raw["reveal"]].reveal()


def _compile(path: Path, case: Broken) -> None:
    modules = base_modules()
    playbook = load_playbook(path, set(modules))
    for stage in playbook.stages:
        Compiler(playbook, modules, Selection()).stage(stage, "here", VARIABLES)


READERS: Mapping[str, Callable[[Path, Broken], object]] = {
    **{
        f"spec/{table.stem}": _load_cluster
        for table in sorted(DATA.glob("spec/*.yaml"))
        if table.stem != "base"
    },
    "inventory/documents": _load_and_match,
    "inventory/faults": _load_and_match,
    "inventory/files": _load_and_match,
    "inventory/names": _load_and_match,
    "inventory/selections": _load_and_match,
    "playbook/refused": _compile,
    "playbook/templates": _compile,
}
"""The tables of the corpus, and how each one's input is read."""


def cases() -> Iterator[Broken]:
    """All of them, as they stand in their files."""
    for table in READERS:
        for raw in yaml.safe_load((DATA / f"{table}.yaml").read_text(encoding="utf-8")):
            yield Broken(table, str(raw.get("name")), raw.get("says", ""), raw)


def told(case: Broken) -> str:
    """What a user is told, in the folder into which the case was written: "" when nothing is found wrong."""
    try:
        READERS[case.table](Path(case.main), case)
    except InputError as error:
        return said(error)
    return ""


def said(error: InputError) -> str:
    """The error as a command prints it."""
    with contextlib.redirect_stderr(io.StringIO()) as stderr:
        tell(error)
    return stderr.getvalue()
