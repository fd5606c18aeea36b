"""The cluster's keys are of the type that shows nothing, from the state file to the script that carries them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from provisioner.action.kinds import base_modules
from provisioner.action.pending import read_pending, write_pending
from provisioner.action.planfile import write_plan
from provisioner.engine.events import Changed, Failed
from provisioner.engine.journal import as_line
from provisioner.engine.plan import Plan, StagePlan
from provisioner.errors import InputError
from provisioner.kube.token import BootstrapToken
from provisioner.pki.authority import Leaf, issue
from provisioner.pki.cluster import ClusterState, new_state, parse_state
from provisioner.playbook.compile import Compiler
from provisioner.playbook.facts import Facts
from provisioner.playbook.load import load_playbook
from provisioner.report.planned import plan_lines, plan_value
from provisioner.resources.model import Absent, Change, Resource

STATE = new_state("lab")
SERVICE_ACCOUNT = "{{ service_account.key }}"
PLACES = [
    "{{ authorities.kubernetes.key }}",
    "{{ authorities['etcd'].key }}",
    SERVICE_ACCOUNT,
    "{{ state_text }}",
]


def keys(state: ClusterState) -> list[str]:
    """A line of each key that occurs nowhere else."""
    pairs = [*state.authorities.values(), state.service_account]
    return [pair.key.reveal().splitlines()[2] for pair in pairs]


def variables(state: ClusterState) -> dict[str, Any]:
    """As action.variables has them."""
    return {
        "authorities": state.authorities,
        "service_account": state.service_account,
        "state_text": state.to_json(),
        "facts": Facts("amd64", "6", "h", "debian", "12", 0.0, False, 1, {}, "", state=state.to_json()),
    }


def compiled(folder: Path, content: str, **more: Any) -> Resource:
    book = [
        {"name": "s", "hosts": "all", "tasks": [{"copy": {"dest": "/etc/x", "content": content, **more}}]}
    ]
    path = folder / "book.yaml"
    path.write_text(json.dumps(book))
    playbook = load_playbook(path, set(base_modules()))
    (resource,) = Compiler(playbook, base_modules()).stage(playbook.stages[0], "here", variables(STATE))
    return resource


def renderings(value: object) -> Iterator[str]:
    yield from (repr(value), str(value), f"{value}", json.dumps(value, default=str))


SHOWN: Mapping[str, object] = {
    "state": STATE,
    "pair": STATE.service_account,
    "text": STATE.to_json(),
    "variables": variables(STATE),
    "leaf": issue(STATE.authorities["etcd"], Leaf("a")),
}


@pytest.mark.parametrize("name", SHOWN)
def test_no_rendering_shows_a_key(name: str) -> None:
    value: Any = SHOWN[name]
    taken_apart = json.dumps(asdict(value), default=str) if hasattr(value, "uuid") else ""
    for text in (*renderings(value), taken_apart):
        assert "PRIVATE KEY" not in text
        assert not [key for key in keys(STATE) if key in text]


@pytest.mark.parametrize("place", PLACES)
def test_a_task_that_does_not_say_secret_gets_no_key(place: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a secret") as caught:
        compiled(tmp_path, place)
    assert "PRIVATE" not in str(caught.value)
    with pytest.raises(InputError, match="is a secret"):
        compiled(tmp_path, "{{ facts.state }}")


@pytest.mark.parametrize("place", PLACES)
def test_a_secret_task_carries_it_and_nothing_else_does(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    resource = compiled(tmp_path, place, secret=True)
    blob = resource.spec["content"]
    assert b"PRIVATE KEY" in blob.data
    change = Change(resource, Absent(), "create", ("sha256",))
    plan = Plan("i", "d", (StagePlan("s", ("h",), {"h": (change,)}),))
    write_plan(plan, tmp_path / "plan")
    told = [
        (tmp_path / "plan").read_text(),
        json.dumps(plan_value(plan)),
        *(line.text for line in plan_lines(plan)),
        as_line(Changed(stage="s", host="h", resource=resource.id, action="create", detail=repr(change))),
        as_line(Failed(stage="s", host="h", resource=resource.id, reason=str(change))),
    ]
    script = base_modules()["copy"].change(change)  # type: ignore[union-attr]
    told += [script.main, repr(script), *renderings(resource), *renderings(plan)]
    for text in told:
        assert not [word for word in ("PRIVATE", blob.data.decode()[40:80], *keys(STATE)) if word in text]


def test_what_is_kept_and_read_again_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    write_pending(STATE.uuid, STATE.to_json())
    assert parse_state(read_pending(STATE.uuid), "here") == STATE
    (path,) = tmp_path.rglob("*.json")
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_token_shows_its_public_half_only() -> None:
    token = BootstrapToken()
    secret = token.secret.reveal()
    assert secret in json.dumps(token.as_object())
    assert not [
        text for text in (*renderings(token.secret), repr(token), repr(vars(token))) if secret in text
    ]
