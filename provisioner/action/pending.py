"""A new cluster's identity between `plan -o` and `apply PLANFILE`.

The plan of a new cluster speaks of keys that exist nowhere yet; for the same plan to be carried out they wait in the
user's state folder, 0600, under the cluster's uuid.
"""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from provisioner.errors import ProvisionError
from provisioner.inventory.secrets import Secret


def write_pending(uuid: str, text: Secret) -> None:
    """Keeps the state's text. Raises OSError."""
    path = _path(uuid)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
        stream.write(text.reveal())


def read_pending(uuid: str) -> Secret:
    """The text that was kept. Raises ProvisionError when it is not on this machine."""
    try:
        return Secret.text(_path(uuid).read_text(encoding="utf-8"))
    except OSError:
        raise ProvisionError(
            "the keys that this plan promises to the new cluster are not on this machine",
            "make a new plan here with `provision plan -o FILE`",
        ) from None


def _path(uuid: str) -> Path:
    return platformdirs.user_state_path("provision") / "pending" / f"{uuid}.json"
