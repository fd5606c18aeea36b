"""Whether a file is a plan: asked by every command that takes an inventory, so it imports nothing that is slow."""

from __future__ import annotations

import re
from pathlib import Path

_HEAD = re.compile(rb'\s*\{\s*"provision_plan"')


def is_plan_file(path: Path) -> bool:
    """Whether `provision plan -o` wrote it; by content, not by name."""
    try:
        with path.open("rb") as stream:
            return _HEAD.match(stream.read(64)) is not None
    except OSError:
        return False
