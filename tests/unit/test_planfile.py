"""Plan files: they bind an apply to what was seen, and give nothing away."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from provisioner.action.planfile import check_agreed, read_plan, write_plan
from provisioner.action.plankind import is_plan_file
from provisioner.engine.plan import Plan, StagePlan
from provisioner.errors import InputError, ProvisionError
from provisioner.resources.model import Absent, Change, Present, Resource, State, Unknown
from provisioner.shell.script import Blob

SECRET = "hunter2"  # noqa: S105


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def change(name: str, before: State, desired: State, action: str, *, secret: bool = False) -> Change:
    blob = Blob.of(SECRET.encode(), secret=True)
    text = None if secret else "some text\n"
    return Change(Resource("file", name, desired, {"content": blob}, text, secret), before, action)


MODE = change(
    "/a", Present({"mode": "600", "list": ("x",)}), Present({"mode": "644", "list": ("x",)}), "update"
)
NEW = change("/b", Absent(), Present({"sha256": Blob.of(SECRET.encode()).sha256}), "create", secret=True)
GONE = change("/c", Present({}), Absent(), "delete")
LATER = change("/d", Unknown("no API"), Present({"x": 1}), "update")
OLD_KEY = change("/k", Present({"sha256": "1"}), Present({"sha256": "2"}), "update", secret=True)
TOKEN = Change(
    Resource("bootstrap_kubeconfig", "/e", Present({"made": 1}), secret=True), Present({"made": 0}), "update"
)


def plan(*changes: Change, inputs: str = "digest", **selection: object) -> Plan:
    chosen = {"limit": None, "tags": [], "stages": [], "playbook": None, **selection}
    return Plan("inventory.yaml", inputs, (StagePlan("s", ("h",), {"h": changes}),), selection=chosen)


WHOLE = (MODE, NEW, GONE, LATER, OLD_KEY, TOKEN)


def test_what_was_agreed_to_goes_through(tmp_path: Path) -> None:
    write_plan(plan(*WHOLE, limit="h", tags=["t"], stages=["s"], playbook="book.yaml"), tmp_path / "plan")
    agreed = read_plan(tmp_path / "plan")
    check_agreed(plan(*WHOLE), agreed)
    request = agreed.request
    assert request.inventory == Path("inventory.yaml").resolve()
    assert request.playbook == Path("book.yaml").resolve(), "a plan may be carried out from another folder"
    assert (request.limit, request.selection.tags, request.selection.stages) == (
        "h",
        frozenset("t"),
        frozenset("s"),
    )


def differing(each: Change, before: State) -> Change:
    return replace(each, before=before)


def test_what_is_minted_is_another_one_each_time(tmp_path: Path) -> None:
    write_plan(plan(TOKEN), tmp_path / "plan")
    check_agreed(plan(differing(TOKEN, Present({"made": 2}))), read_plan(tmp_path / "plan"))
    with pytest.raises(ProvisionError, match="/e is not as it was"):
        check_agreed(plan(differing(TOKEN, Absent())), read_plan(tmp_path / "plan"))


def instead(old: Change, new: Change) -> Plan:
    return plan(*(new if each is old else each for each in WHOLE))


OTHERS = [
    ("an input changed", plan(*WHOLE, inputs="other"), "the inventory, a playbook or the bundle changed"),
    (
        "one more change",
        plan(*WHOLE, change("/e", Absent(), Present(), "create")),
        "h: file:/e would change, too",
    ),
    ("one change less", plan(*(each for each in WHOLE if each is not LATER)), "h: file:/d is not as it was"),
    ("another action", instead(MODE, replace(MODE, action="create")), "h: file:/a is not as it was"),
    (
        "state before",
        instead(MODE, differing(MODE, Present({"mode": "666", "list": ("x",)}))),
        "file:/a",
    ),
    ("readable now", instead(LATER, differing(LATER, Present({"x": 2}))), "file:/d is not as it was"),
    ("secret there now", instead(NEW, differing(NEW, Present({"sha256": "0"}))), "file:/b is not"),
    (
        "another key there now",
        instead(OLD_KEY, differing(OLD_KEY, Present({"sha256": "3"}))),
        "file:/k is not as it was",
    ),
    (
        "another key to come",
        instead(
            OLD_KEY, replace(OLD_KEY, resource=replace(OLD_KEY.resource, desired=Present({"sha256": "3"})))
        ),
        "file:/k is not as it was",
    ),
]


@pytest.mark.parametrize(("name", "now", "reason"), OTHERS, ids=[each[0] for each in OTHERS])
def test_anything_else_is_refused(name: str, now: Plan, reason: str, tmp_path: Path) -> None:
    write_plan(plan(*WHOLE), tmp_path / "plan")
    with pytest.raises(ProvisionError) as caught:
        check_agreed(now, read_plan(tmp_path / "plan"))
    assert reason in caught.value.reason
    assert "new plan" in caught.value.hint


def test_nothing_secret_is_in_the_file(tmp_path: Path) -> None:
    write_plan(plan(*WHOLE), tmp_path / "plan")
    text = (tmp_path / "plan").read_text()
    assert SECRET not in text
    assert Blob.of(SECRET.encode()).sha256 not in text
    key = tmp_path / "state" / "provision" / "plan.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert key.read_bytes().hex() not in text


def test_another_user_s_key_agrees_to_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_plan(plan(MODE), tmp_path / "plan")
    agreed = read_plan(tmp_path / "plan")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "other"))
    with pytest.raises(ProvisionError, match="is not as it was"):
        check_agreed(plan(MODE), agreed)


BROKEN = [
    "",
    "{}",
    "[]",
    '{"provision_plan": 1',
    '{"provision_plan": 1}',
    '{"provision_plan": 99, "changes": []}',
]


@pytest.mark.parametrize("text", BROKEN)
def test_what_is_no_plan_is_told(text: str, tmp_path: Path) -> None:
    (tmp_path / "plan").write_text(text)
    with pytest.raises(InputError):
        read_plan(tmp_path / "plan")


def test_plans_are_known_by_their_content(tmp_path: Path) -> None:
    write_plan(plan(MODE), tmp_path / "plan.yaml")
    assert is_plan_file(tmp_path / "plan.yaml")
    packed = json.dumps(json.loads((tmp_path / "plan.yaml").read_text()))
    (tmp_path / "packed").write_text(packed)
    assert is_plan_file(tmp_path / "packed")
    (tmp_path / "inventory.yaml").write_text("all: {}\n")
    assert not is_plan_file(tmp_path / "inventory.yaml")
    assert not is_plan_file(tmp_path / "nothing")


def test_a_plan_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(ProvisionError, match="cannot be written"):
        write_plan(plan(MODE), tmp_path / "no" / "plan")
