"""Why an upstream manifest is not applied as its publisher has it: its edits, as people are told of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Patched:
    """One edit, in the order in which they are made. The resource `manifest` ("flannel") has in the object `target`, at
    `path` ("data.net-conf.json"), `after` instead of `before`: plain values, None where there was nothing, or nothing
    is left. `why` is for people."""

    manifest: str
    target: str
    path: str
    before: Any
    after: Any
    why: str
