"""Where a lab on this machine keeps its key, its known hosts and its state."""

from __future__ import annotations

from pathlib import Path


def lab_directory(name: str) -> Path:
    """The folder of the lab `name` under the user's state folder; it need not exist."""
    from platformdirs import user_state_path  # imported here: it costs 18 ms, and few commands need it

    return user_state_path("provision") / "labs" / name
