"""Which tests of networks were seen to pass, and when: what docs/networks.md says of them is made of that.

A run with PROVISION_WRITE_DOCS=1 writes down those that pass, and takes out those that fail.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

FILE = Path(__file__).parents[1] / "data" / "seen.json"
RECORDED = (
    "tests/cluster/test_networks.py::",
    "tests/cluster/test_accepted.py::test_accepted[",
    "tests/cluster/test_accepted.py::test_attachments_accepted[",
    "tests/hosts/test_attachments.py::",
)
"""By what their ids begin with."""


def passed() -> Mapping[str, str]:
    """The day (UTC) of the last time, by the test's id."""
    found: Mapping[str, str] = json.loads(FILE.read_text(encoding="utf-8"))
    return found


def record(nodeid: str, *, good: bool, file: Path = FILE) -> None:
    """Of a test that has run; nothing of others than RECORDED."""
    if not nodeid.startswith(RECORDED):
        return
    known = json.loads(file.read_text(encoding="utf-8"))
    known.pop(nodeid, None)
    if good:
        known[nodeid] = datetime.now(UTC).date().isoformat()
    file.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n", encoding="utf-8")
