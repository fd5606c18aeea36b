"""`group_vars/` and `host_vars/`: which files hold the variables of a name."""

from __future__ import annotations

from pathlib import Path

from provisioner.errors import InputError, Problem
from provisioner.inventory.documents import Document, read_document
from provisioner.inventory.graph import Graph, Variable
from provisioner.inventory.parse import variables_of
from provisioner.inventory.spelling import kind_of

_SUFFIXES = ("", ".yml", ".yaml", ".json")


def variable_files(folder: Path, name: str) -> tuple[Path, ...]:
    """The files for `name`: the first of NAME, NAME.yml, NAME.yaml, NAME.json that exists.

    A directory stands for all files in it, in sorted order; it hides NAME.yml (Ansible's rule).
    Raises InputError when one cannot be read.
    """
    for suffix in _SUFFIXES:
        path = folder / (name + suffix)
        try:
            if path.is_dir():
                return tuple(_files_in(path))
            if path.is_file():
                return (path,)
        except OSError as error:
            raise InputError([Problem(str(path), 0, 0, f"cannot be read: {error.strerror}")]) from None
    return ()


def _files_in(folder: Path) -> list[Path]:
    found: list[Path] = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name.endswith("~"):
            continue
        if path.is_dir():
            found += _files_in(path) if "." not in path.name else []
        elif path.suffix in _SUFFIXES:
            found.append(path)
    return found


def read_variables(graph: Graph, path: Path) -> tuple[Document | None, dict[str, Variable]]:
    """The variables in one file; faults go to `graph.problems`. An empty file holds none."""
    try:
        document = read_document(path, may_be_empty=True)
    except InputError as error:
        for problem in error.problems:
            graph.lose(problem)
        return None, {}
    if isinstance(document.data, dict):
        return document, variables_of(graph, document, (), document.data)
    reason = f"a variables file must be a mapping, this is {kind_of(document.data)}"
    graph.lose(document.problem((), reason, "write 'name: value' lines"))
    return document, {}
