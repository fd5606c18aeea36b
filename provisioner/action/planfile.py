"""Plan files: what was agreed to, without contents and without secrets.

A plan file names the inputs' digest and, for every change, an HMAC of the state before it and of the state after it.
`apply PLANFILE` compiles and reads again and goes ahead only when all of that is the same. The key of the HMACs lies in
the file's neighbour of the user's state folder, so that a plan file alone cannot be used to guess at a secret.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import platformdirs

from provisioner.action.load import Request
from provisioner.engine.plan import Plan
from provisioner.errors import InputError, Problem, ProvisionError
from provisioner.resources.model import Change, Present, State, Unknown

_FORMAT = 1
_PLACE = ("stage", "host", "id", "action")
_MINTED = {"bootstrap_token", "bootstrap_kubeconfig"}
"""Kinds whose contents are made anew at apply time: of them only their being there is agreed to."""
_CUT = "this plan is cut off or garbled"
_AGAIN = "make a new plan with `provision plan -o FILE`"


@dataclass(frozen=True)
class Agreed:
    """What a plan file says: changes as (stage, host, id, action) → HMAC of their before and after."""

    request: Request
    inputs: str
    changes: Mapping[tuple[str, str, str, str], str] = field(repr=False)


def write_plan(plan: Plan, path: Path) -> None:
    """Writes the plan file. Raises ProvisionError."""
    key = _key()
    changes = [
        {
            "stage": stage,
            "host": host,
            "id": change.resource.id,
            "action": change.action,
            "keys": list(change.keys),
            "mac": _mac(key, change),
        }
        for stage, host, change in plan.changes()
    ]
    data = {
        "provision_plan": _FORMAT,
        "inventory": str(Path(plan.inventory).resolve()),
        "inputs": plan.inputs,
        "selection": {**plan.selection, "playbook": _absolute(plan.selection.get("playbook"))},
        "changes": changes,
    }
    try:
        path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    except OSError as fault:
        raise ProvisionError(f"the plan cannot be written: {fault}") from None


def read_plan(path: Path) -> Agreed:
    """Raises InputError when the file is no plan of ours, is cut off or garbled."""
    try:
        data = json.loads(path.read_bytes())
    except OSError as fault:
        raise InputError([Problem(str(path), 0, 0, f"cannot be read: {fault.strerror}")]) from None
    except json.JSONDecodeError as fault:
        raise InputError([Problem(str(path), fault.lineno, fault.colno, _CUT, _AGAIN)]) from None
    except (ValueError, RecursionError):  # bytes that are no text; brackets without end
        raise InputError([Problem(str(path), 0, 0, _CUT, _AGAIN)]) from None
    try:
        if data["provision_plan"] != _FORMAT:
            reason = f"plan format {data['provision_plan']} is not known"
            raise InputError([Problem(str(path), 0, 0, reason, _AGAIN)])
        changes = {tuple(_texts(c[name] for name in _PLACE)): _text(c["mac"]) for c in data["changes"]}
        return Agreed(_request(data), _text(data["inputs"]), changes)  # type: ignore[arg-type]  # _PLACE has four
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError([Problem(str(path), 0, 0, "this plan is garbled", _AGAIN)]) from None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _texts(values: Iterable[Any]) -> list[str]:
    return [_text(value) for value in values]


def check_agreed(plan: Plan, agreed: Agreed) -> None:
    """Raises ProvisionError when the inputs or the state of any host differ from what was agreed to."""
    if plan.inputs != agreed.inputs:
        raise ProvisionError(
            "the inventory, a playbook or the bundle changed since the plan was made", _AGAIN
        )
    key = _key()
    now = {(s, h, c.resource.id, c.action): (_mac(key, c), c) for s, h, c in plan.changes()}
    known = {place[:3] for place in agreed.changes}
    extra = [f"{place[1]}: {place[2]}" for place in now if place[:3] not in known]
    if extra:
        raise ProvisionError(
            f"the hosts changed since the plan was made: {', '.join(extra[:5])} would change, too", _AGAIN
        )
    for place, mac in agreed.changes.items():
        if place not in now or not hmac.compare_digest(now[place][0], mac):
            _, host, name, _ = place
            raise ProvisionError(f"{host}: {name} is not as it was when the plan was made", _AGAIN)


def _request(data: Mapping[str, Any]) -> Request:
    from provisioner.playbook.model import Selection

    chosen = data["selection"]
    playbook, limit, identity = (
        None if chosen.get(name) is None else _text(chosen[name])
        for name in ("playbook", "limit", "identity")
    )
    tags, stages = (frozenset(_texts(chosen.get(name) or [])) for name in ("tags", "stages"))
    path = Path(playbook) if playbook else None
    return Request(Path(_text(data["inventory"])), path, limit, Selection(tags, stages), identity=identity)


def _absolute(path: str | None) -> str | None:
    """The plan may be carried out from another folder."""
    return str(Path(path).resolve()) if path else None


def _mac(key: bytes, change: Change) -> str:
    text = json.dumps(
        [_plain(change, change.before), _plain(change, change.resource.desired)], sort_keys=True
    )
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def _plain(change: Change, state: State) -> Any:
    if isinstance(state, Unknown):
        return "unknown"
    if not isinstance(state, Present):
        return "absent"
    if change.resource.kind in _MINTED:
        return "secret"
    return {k: list(v) if isinstance(v, tuple) else v for k, v in state.attrs.items()}


def _key() -> bytes:
    path = platformdirs.user_state_path("provision") / "plan.key"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        new = path.with_name(f"plan.key.{os.getpid()}")
        new.touch(mode=0o600)
        new.write_bytes(secrets.token_bytes(32))
        new.replace(path)
    return path.read_bytes()
