"""A selection that selects nothing is an error, not a success; a new cluster is not begun in parts."""

from __future__ import annotations

from pathlib import Path

import pytest

from provisioner.action.connect import connect_to
from provisioner.action.load import Request, load
from provisioner.action.plan import plan_of
from provisioner.action.prepare import Memory, Prepared
from provisioner.engine.events import Event, Note
from provisioner.engine.plan import Desired
from provisioner.errors import InputError
from provisioner.playbook.model import Selection

BARE = """
all:
  vars: {ansible_user: root}
  hosts: {one: {ansible_host: 127.0.0.1}}
"""

PLAYBOOK = """
- name: first stage
  hosts: all
  tags: [alpha]
  tasks:
    - file: {path: /tmp/provision-selection/x, state: directory}
      tags: [beta]
"""


@pytest.fixture
def bare(tmp_path: Path) -> tuple[Path, Path]:
    (tmp_path / "inventory.yaml").write_text(BARE)
    (tmp_path / "play.yaml").write_text(PLAYBOOK)
    return tmp_path / "inventory.yaml", tmp_path / "play.yaml"


@pytest.mark.parametrize(
    ("selection", "words"),
    [
        (
            Selection(stages=frozenset({"first stag"})),
            "--stage: the playbook has no 'first stag' (did you mean 'first",
        ),
        (Selection(tags=frozenset({"alpah"})), "--tags: the playbook has no 'alpah' (did you mean 'alpha'?)"),
    ],
)
def test_an_unknown_stage_or_tag_is_refused(
    bare: tuple[Path, Path], selection: Selection, words: str
) -> None:
    with pytest.raises(InputError) as raised:
        load(Request(bare[0], bare[1], selection=selection))
    assert words in str(raised.value)


@pytest.mark.parametrize("tag", ["alpha", "beta"])
def test_tags_of_stages_and_tasks_are_known(bare: tuple[Path, Path], tag: str) -> None:
    assert load(Request(bare[0], bare[1], selection=Selection(tags=frozenset({tag})))).hosts == ("one",)


def test_a_selection_without_a_resource_is_warned_of(bare: tuple[Path, Path]) -> None:
    """Its names are all known; nobody is to read "nothing to change" as "all is well"."""
    loaded = load(Request(*bare, selection=Selection(tags=frozenset({"beta"}))))
    nothing = (Desired("first stage", {}),)
    events: list[Event] = []
    with connect_to(loaded.inventory) as pool:
        plan = plan_of(Prepared(loaded, {}, {}, nothing, "", Memory("p", {}), None), pool, events.append)
    assert plan.resources == 0
    (note,) = (each for each in events if isinstance(each, Note))
    assert (note.level, note.message.partition(":")[0]) == ("warning", "the selection is empty")
