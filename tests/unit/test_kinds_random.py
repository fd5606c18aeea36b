"""Any tree becomes any other tree: random wishes over random remains, seeded."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest
from localhost import GROUP, OWNER, Here

NAMES = ["a", "b c", "d'e", "ü", "-f", "g$h", "i*", "j[k]"]
CONTENTS = ["", "x", "x\n", "y\n", "ä'\"$`\\\n", "x" * 70_000, "x" * 1_100_000]
FILE_MODES = ["0600", "0644", "0755", "4711", "0"]
FOLDER_MODES = ["0700", "0755", "2755", "1777"]
ROUNDS = 6


def wish(chance: random.Random, name: str) -> dict[str, Any]:
    path = f"{{{{ root }}}}/{name}"
    kind = chance.choice(["copy", "copy", "directory", "link", "absent", "file"])
    if kind == "copy":
        return {"copy": {"dest": path, "content": chance.choice(CONTENTS), "mode": chance.choice(FILE_MODES)}}
    if kind == "directory":
        return {"file": {"path": path, "state": "directory", "mode": chance.choice(FOLDER_MODES)}}
    if kind == "link":
        return {"file": {"path": path, "state": "link", "src": chance.choice([*NAMES, "/nowhere"])}}
    if kind == "absent":
        return {"file": {"path": path, "state": "absent"}}
    return {"file": {"path": path, "mode": chance.choice(FILE_MODES)}}


def leave(chance: random.Random, path: Path) -> None:
    """Something that was there before, by other means than the tool's own."""
    kind = chance.choice(["nothing", "file", "file", "folder", "link", "dangling", "pipe"])
    if kind == "file":
        path.write_text(chance.choice(CONTENTS), encoding="utf-8")
        path.chmod(int(chance.choice(FILE_MODES), 8))
    elif kind == "folder":
        path.mkdir()
        path.chmod(int(chance.choice(FOLDER_MODES), 8))
    elif kind == "link":
        path.symlink_to(path.parent)
    elif kind == "dangling":
        path.symlink_to("nowhere at all")
    elif kind == "pipe":
        os.mkfifo(path)


def right(task: dict[str, Any], path: Path) -> bool:
    """Whether `path` is what `task` asks for, judged without the tool. A link to a folder is as good as a folder."""
    ((module, args),) = task.items()
    state = args.get("state", "file")
    if state == "absent":
        return not os.path.lexists(path)
    if state == "link":
        return path.is_symlink() and str(path.readlink()) == args["src"]
    if not path.exists():
        return False
    mode = path.stat().st_mode & 0o7777 == int(args["mode"], 8)
    if (path.owner(), path.group()) != (OWNER, GROUP) or not mode:
        return False
    if state == "directory":
        return path.is_dir()
    return (
        path.is_file()
        and not path.is_symlink()
        and (module != "copy" or path.read_text("utf-8") == args["content"])
    )


@pytest.mark.parametrize("shell", ["dash", "busybox"])
def test_any_tree_becomes_any_other(shell: str, tmp_path: Path) -> None:
    chance = random.Random(20240131)  # noqa: S311
    here = Here(tmp_path, shell)
    for turn in range(ROUNDS):
        folder = here.target / str(turn)
        folder.mkdir()
        names = chance.sample(NAMES, 6)
        for name in names:
            leave(chance, folder / name)
        tasks = {name: wish(chance, name) for name in names}
        desired = here.desired(list(tasks.values()), root=str(folder))
        wrong = {name for name, task in tasks.items() if not right(task, folder / name)}
        changes = here.changes(desired)
        assert {Path(change.resource.name).name for change in changes} == wrong, f"turn {turn}"
        assert here.carry_out(changes) is None, f"turn {turn}"
        assert here.changes(desired) == [], f"turn {turn}"
        assert [name for name, task in tasks.items() if not right(task, folder / name)] == [], f"turn {turn}"
        if os.geteuid() == 0:
            assert sorted(path.name for path in folder.glob(".*.provision")) == []
