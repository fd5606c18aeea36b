"""Files, folders and links: applied, damaged and mended for real, by the scripts that hosts run."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from localhost import SHELLS, Here

from provisioner.engine.events import Failed
from provisioner.engine.plan import Desired
from provisioner.resources.model import Change, Resource
from provisioner.resources.paths import PathKind
from provisioner.shell.assemble import StepRecord, change_script

CASES: dict[str, dict[str, Any]] = {
    case["name"]: case
    for case in yaml.safe_load(
        (Path(__file__).parents[1] / "data" / "kinds" / "paths.yaml").read_text(encoding="utf-8")
    )
}


def sources(folder: Path) -> dict[str, str]:
    """Files of the controller that cases name."""
    contents = {
        "large": b"0123456789abcdef" * 100_000,
        "larger": b"fedcba9876543210" * 150_001,
        "nothing": b"",
        "binary": bytes(range(256)),
        "template": b"owner={{ word }}\n",
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return {"word": "root-of-it", **{name: str(folder / name) for name in contents}}


@dataclass(frozen=True)
class Batch:
    """All cases on one host: each in a folder of its own, read and changed by the same scripts."""

    here: Here
    found: dict[str, dict[str, Any]]
    """What the plan after the damage says, by case and path."""
    failures: list[Failed | None]
    left: list[Change]
    """What is still to do at the end."""
    execs: int


@pytest.fixture(scope="module", params=SHELLS)
def batch(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Batch:
    here = Here(tmp_path_factory.mktemp("paths"), request.param)
    files = sources(here.book)
    resources: list[Resource] = []
    for number, case in enumerate(CASES.values()):
        (here.target / str(number)).mkdir()
        here.shell(case.get("prepare", ":"), str(number))
        resources += here.desired(case["tasks"], root=f"{here.target}/{number}", **files).hosts["here"]
    desired = Desired("stage", {"here": tuple(resources)})
    failures = [here.apply(desired)]
    for number, case in enumerate(CASES.values()):
        here.shell(case["damage"], str(number))
    before = here.session.execs
    changes = here.changes(desired)
    failures.append(here.carry_out(changes))
    left = here.changes(desired)
    return Batch(here, found(changes, here.target), failures, left, here.session.execs - before)


def found(changes: list[Change], target: Path) -> dict[str, dict[str, Any]]:
    by_case: dict[str, dict[str, Any]] = {}
    for change in changes:
        number, _, path = change.resource.name.removeprefix(f"{target}/").partition("/")
        keys = list(change.keys) if change.action == "update" else change.action
        by_case.setdefault(list(CASES)[int(number)], {})[path] = keys
    return by_case


@pytest.mark.parametrize("name", CASES)
def test_exactly_the_damage_is_found(batch: Batch, name: str) -> None:
    assert batch.found.get(name) == CASES[name]["keys"]


def test_all_damage_is_mended(batch: Batch) -> None:
    assert batch.failures == [None, None]
    assert batch.left == []
    assert batch.execs == 3, "one script reads, one changes and reads again, one finds nothing to do"


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if "check" in case])
def test_nothing_else_is_touched(batch: Batch, name: str) -> None:
    batch.here.shell(CASES[name]["check"], str(list(CASES).index(name)))


REFUSED = [
    (
        "a file over a folder with contents",
        "mkdir a; : >a/x",
        {"copy": {"dest": "{{ root }}/a", "content": "x"}},
    ),
    (
        "a link over a folder with contents",
        "mkdir a; : >a/x",
        {"file": {"path": "{{ root }}/a", "state": "link", "src": "x"}},
    ),
    ("a plain file over one", "mkdir a; : >a/x", {"file": {"path": "{{ root }}/a"}}),
]


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(("name", "prepare", "task"), REFUSED, ids=[each[0] for each in REFUSED])
def test_contents_are_never_thrown_away(
    name: str, prepare: str, task: Any, shell: str, tmp_path: Path
) -> None:
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
    here = Here(tmp_path, shell)
    task = {
        "copy": {"dest": "{{ root }}/a", "content": "x", "owner": os.geteuid(), "group": str(os.getegid())}
    }
    assert here.apply(here.desired([task])) is None


@pytest.mark.parametrize("shell", SHELLS)
def test_content_is_never_readable_before_its_mode(shell: str, tmp_path: Path) -> None:
    """A shell that is killed before the last rename shows what others could read until then; one that only fails tidies
    up."""
    here = Here(tmp_path, shell)
    here.shell("mkdir a; : >a/x")
    task = {"copy": {"dest": "{{ root }}/a", "content": "secret", "mode": "0600", "secret": True}}
    (change,) = here.changes(here.desired([task]))
    script = PathKind().change(change)
    killed = replace(script, main=f"trap - EXIT\n{script.main}")
    here.session.run(change_script([killed], [StepRecord("{}")], []))
    assert (here.target / ".a.provision").stat().st_mode & 0o077 == 0
    assert here.carry_out([change]) is not None
    assert not (here.target / ".a.provision").exists()


@pytest.mark.parametrize("size", [10, 200_000])
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
