"""Whose a thing is, by what the host remembers of it."""

from __future__ import annotations

import pytest

from provisioner.action.kinds import base_modules, kinds_of
from provisioner.engine.ownership import Ownership
from provisioner.resources.model import Change, Owned, Present, Resource

WANTED = {"type": "file", "sha256": "1"}
THERE = Change(
    Resource("file", "/srv/x", Present({"sha256": "2"}), writes=("/srv/x",)), Present(WANTED), "update"
)


@pytest.mark.parametrize(
    ("kind", "foreign"),
    [("file", False), ("artifact", False), ("certificate", True), ("unarchive", True), ("systemd", True)],
)
def test_only_what_wrote_that_file_makes_it_ours(kind: str, foreign: bool) -> None:
    """A certificate /srv/x is /srv/x.crt and /srv/x.key: a file /srv/x beside them is somebody else's."""
    record = Owned(kind, "/srv/x", frozenset({"site"}), WANTED, {})
    ownership = Ownership("run", "site", {"here": {record.id: record}}, kinds_of(dict(base_modules())))
    assert ownership.judged("here", THERE).foreign is foreign
