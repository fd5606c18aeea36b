"""What a migration will do, in words, before anything is done."""

from __future__ import annotations

from collections.abc import Mapping

from provisioner.action.migration.change import Change
from provisioner.playbook.facts import Facts
from provisioner.resources.model import Runner


def told(change: Change, facts: Mapping[str, Facts], plane: Runner) -> list[str]:
    """A line each."""
    del facts, plane
    old, new = change.old.network, change.new.network
    return [
        f"the pod network {old.plugin} is replaced by {new.plugin}; pods are made anew, and get other addresses"
    ]
