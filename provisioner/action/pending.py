"""A new cluster's identity between `plan -o` and `apply PLANFILE`.

The plan of a new cluster speaks of keys that exist nowhere yet; for the same plan to be carried out they wait in the
user's state folder, 0600, under the cluster's uuid: until a control plane has them, else until another plan is made
`KEPT` later.
"""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from provisioner.errors import ProvisionError
from provisioner.inventory.secrets import Secret

if TYPE_CHECKING:
    from provisioner.engine.execute import Outcome
    from provisioner.engine.plan import Plan

KEPT = 7 * 86400.0
"""Seconds after which a plan of a new cluster that nobody carried out is none any more."""
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def write_pending(uuid: str, text: Secret) -> None:
    """Keeps the state's text, and those no longer that are too old. Raises OSError."""
    path = _path(uuid)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    for other in path.parent.glob("*.json"):
        if other.stat().st_mtime < time.time() - KEPT:
            other.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
        stream.write(text.reveal())


def read_pending(uuid: str) -> Secret:
    """The text that was kept. Raises ProvisionError when it is not on this machine."""
    try:
        return Secret.text(_path(uuid).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise ProvisionError(
            "the keys that this plan promises to the new cluster are not on this machine",
            "make a new plan here with `provision plan -o FILE`",
        ) from None


def drop_pending(uuid: str) -> None:
    """To be called once a control plane has the keys: no second copy of them is kept here. What cannot be taken away
    now is tried again by the next run."""
    with suppress(OSError, ValueError):
        _path(uuid).unlink(missing_ok=True)


def has_saved(plan: Plan, outcome: Outcome) -> bool:
    """Whether some host's stage that writes the state has ended well, its reading again included."""
    from provisioner.pki.cluster import STATE_FILE  # 0.02 s, and no playbook without a cluster comes here

    failed = {(failure.stage, failure.host) for failure in outcome.failures}
    return any(
        change.resource.name == STATE_FILE and (stage, host) in outcome.made.keys() - failed
        for stage, host, change in plan.changes()
    )


def _path(uuid: str) -> Path:
    """Raises ValueError for what is no uuid: it may come from a file that was garbled."""
    if not _UUID.fullmatch(uuid):
        raise ValueError(uuid)
    return platformdirs.user_state_path("provision") / "pending" / f"{uuid}.json"
