"""Files, folders and links: applied, damaged and mended for real, by the scripts that hosts run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from localhost import SHELLS, Here

from provisioner.resources.model import Change

CASES: list[dict[str, Any]] = yaml.safe_load(
    (Path(__file__).parent.parent / "data" / "kinds" / "paths.yaml").read_text(encoding="utf-8")
)


def sources(folder: Path) -> dict[str, str]:
    """Files of the controller that cases name."""
    contents = {
        "large": b"0123456789abcdef" * 100_000,
        "larger": b"fedcba9876543210" * 150_001,
        "nothing": b"",
        "binary": bytes(range(256)),
        "template": b"owner={{ owner }}\n",
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return {name: str(folder / name) for name in contents}


def found(changes: list[Change], target: Path) -> dict[str, Any]:
    return {
        change.resource.name.removeprefix(f"{target}/"): list(change.keys)
        if change.action == "update"
        else change.action
        for change in changes
    }


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["name"]))
def test_damage_is_found_and_mended(case: dict[str, Any], shell: str, tmp_path: Path) -> None:
    here = Here(tmp_path, shell)
    here.shell(case.get("prepare", ":"))
    desired = here.desired(case["tasks"], **sources(here.book))
    assert here.apply(desired) is None
    before = here.session.execs
    here.shell(case["damage"])
    changes = here.changes(desired)
    assert found(changes, here.target) == case["keys"]
    assert here.carry_out(changes) is None
    assert here.changes(desired) == []
    assert here.session.execs - before == 3, "one script to read, one to change and read again"
    here.shell(case.get("check", ":").replace("{{ owner }}", _owner()))


def _owner() -> str:
    from localhost import OWNER

    return OWNER


REFUSED = [
    ("a file over a folder with contents", "mkdir a; : >a/x", {"copy": {"dest": "{{ root }}/a", "content": "x"}}),
    ("a link over a folder with contents", "mkdir a; : >a/x", {"file": {"path": "{{ root }}/a", "state": "link", "src": "x"}}),
    ("a plain file over one", "mkdir a; : >a/x", {"file": {"path": "{{ root }}/a"}}),
]


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(("name", "prepare", "task"), REFUSED, ids=[each[0] for each in REFUSED])
def test_contents_are_never_thrown_away(name: str, prepare: str, task: Any, shell: str, tmp_path: Path) -> None:
    here = Here(tmp_path, shell)
    here.shell(prepare)
    failure = here.apply(here.desired([task]))
    assert failure is not None
    assert "is a folder with contents" in failure.stderr
    assert (here.target / "a" / "x").exists()
    assert list(here.target.glob(".*.provision")) == [] or "copy" in task


@pytest.mark.parametrize("shell", SHELLS)
def test_missing_folder_is_named(shell: str, tmp_path: Path) -> None:
    here = Here(tmp_path, shell)
    failure = here.apply(here.desired([{"copy": {"dest": "{{ root }}/no/a", "content": "x"}}]))
    assert failure is not None
    assert "no/" in failure.stderr
    assert failure.resource == f"file:{here.target}/no/a"
    assert failure.undone == (failure.resource,)


@pytest.mark.parametrize("shell", SHELLS)
def test_numeric_owner(shell: str, tmp_path: Path) -> None:
    import os

    here = Here(tmp_path, shell)
    task = {"copy": {"dest": "{{ root }}/a", "content": "x", "owner": os.geteuid(), "group": str(os.getegid())}}
    assert here.apply(here.desired([task])) is None


@pytest.mark.parametrize("shell", SHELLS)
def test_content_is_never_readable_before_its_mode(shell: str, tmp_path: Path) -> None:
    """A shell that stops before the last rename shows what others could read until then."""
    here = Here(tmp_path, shell)
    here.shell("mkdir a; : >a/x")
    task = {"copy": {"dest": "{{ root }}/a", "content": "secret", "mode": "0600", "secret": True}}
    assert here.apply(here.desired([task])) is not None
    assert (here.target / ".a.provision").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("size", [10, 3_000_000])
@pytest.mark.parametrize("shell", SHELLS)
def test_secret_shows_nowhere(shell: str, size: int, tmp_path: Path) -> None:
    """Neither in a trace, an error, an event nor a plan, also when the change fails."""
    here = Here(tmp_path, shell)
    here.shell("mkdir a; : >a/x")
    secret = "hunter2-" * size
    task = {"copy": {"dest": "{{ root }}/a", "content": secret, "secret": True}}
    plan = here.plan(here.desired([task]), texts=True)
    changes = [change for _, _, change in plan.changes()]
    failure = here.carry_out(changes)
    assert failure is not None
    printed = repr((plan, changes, failure, here.events))
    printed += "".join(repr(script) for script in here.session.sent)
    printed += "".join(f"{result.stdout!r}{result.stderr!r}" for result in here.session.results)
    assert "hunter2" not in printed
    assert failure.script_line == "(secret)"
