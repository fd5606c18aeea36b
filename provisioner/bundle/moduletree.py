"""Files of an image that its Go module carries as they are: directories, in which declared edits are made."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from provisioner.bundle.archive import Entry
from provisioner.bundle.catalogue import Edit, ImageRecipe
from provisioner.errors import ProvisionError

_SCRIPT = b"#!"
_PROGRAM, _DATA = 0o755, 0o644


def entries(recipe: ImageRecipe, module: Path) -> Sequence[Entry]:
    """The recipe's `tree` out of the directory `module`, edited.

    Raises ProvisionError when the module has not what the recipe names, or an edit finds nothing to change.
    """
    found = {entry.path: entry for target, source in recipe.tree for entry in _files(target, module, source)}
    for path in (*recipe.scripts, *(edit.file for edit in recipe.edits)):
        if path not in found:
            raise ProvisionError(f"the image has no {path} from its module", "look at the recipe's `tree`")
    for path in recipe.scripts:
        found[path] = replace(found[path], mode=_PROGRAM)
    for edit in recipe.edits:
        found[edit.file] = _edited(found[edit.file], edit)
    return tuple(found.values())


def _files(target: str, module: Path, source: str) -> Iterator[Entry]:
    top = module / source
    files = [top] if top.is_file() else sorted(path for path in top.rglob("*") if path.is_file())
    if not files:
        raise ProvisionError(f"the module has no files at {source}", "look there at the pinned version")
    for path in files:
        inside = target if path == top else f"{target}/{path.relative_to(top)}"
        yield Entry(inside, file=path, mode=_mode(path))


def _mode(path: Path) -> int:
    """Go's archives of modules have no modes: what the kernel would start is a script."""
    with path.open("rb") as file:
        return _PROGRAM if file.read(2) == _SCRIPT else _DATA


def _edited(entry: Entry, edit: Edit) -> Entry:
    text = entry.data if entry.file is None else entry.file.read_bytes()
    lines = (text or b"").decode().splitlines(keepends=True)
    kept = [line for line in lines if not re.search(edit.drop, line)]
    if len(kept) == len(lines):
        raise ProvisionError(
            f"{edit.file} has no line with {edit.drop!r} to leave out",
            "is the edit still needed at this version?",
        )
    return replace(entry, data="".join(kept).encode(), file=None)
