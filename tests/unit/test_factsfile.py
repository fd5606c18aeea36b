"""Facts in a file: what is written is read again, and what is wrong in it has its place."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from provisioner.errors import InputError, ProvisionError
from provisioner.inventory.secrets import Secret
from provisioner.playbook.facts import Facts
from provisioner.playbook.factsfile import read_facts, write_facts

FACTS = Facts(
    "amd64", "6.1.0", "café", "debian", "12", -0.25, False, 4096, {"eth0": ("10.0.0.1/24",)}, "eth0", ("ip",),
    mtus={"eth0": 1500}, drivers={"eth0": "ixgbe"}, unsettable=("/proc/sys/net/a",),
)  # fmt: skip
Data = dict[str, Any]


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    write_facts(tmp_path / "f", {"a": FACTS, "b": FACTS, "c": FACTS})
    assert read_facts(tmp_path / "f", ["a", "b"]) == {"a": FACTS, "b": FACTS}


def test_nothing_of_the_cluster_is_written(tmp_path: Path) -> None:
    whole = replace(FACTS, state=Secret.text("KEYS"), mark="MARK")
    write_facts(tmp_path / "f", {"a": whole})
    assert not {"KEYS", "MARK"} & set((tmp_path / "f").read_text().replace('"', " ").split())
    assert read_facts(tmp_path / "f", ["a"])["a"].state is None


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ProvisionError, match="cannot be written"):
        write_facts(tmp_path / "none" / "f", {"a": FACTS})


WRONG: list[tuple[str, Callable[[Data], Any], list[str]]] = [
    ("a list", lambda _: [], ["1:1: facts are a mapping of hosts, this is a list"]),
    ("a host is missing", lambda data: data.pop("b"), ["1:1: there are no facts of b"]),
    (
        "a misspelt host",
        lambda data: data.update(worker2=data.pop("wroker2")),
        ["96:2: 'worker2' is no host here (did you mean 'wroker2'?)"],
    ),
    (
        "no mapping",
        lambda data: data.update(b=7),
        ["49:7: the facts of b must be a mapping, this is a number"],
    ),
    (
        "an unknown fact",
        lambda data: data["a"].update(kernl="6"),
        ["48:3: a: there is no fact 'kernl' (did you mean 'kernel'?)"],
    ),
    ("a fact is missing", lambda data: data["a"].pop("memory"), ["2:2: a: the fact 'memory' is missing"]),
    (
        "a misspelt fact",
        lambda data: data["a"].update(memmory=data["a"].pop("memory")),
        ["47:3: a: there is no fact 'memmory' (did you mean 'memory'?)"],
    ),
    (
        "wrong types",
        lambda data: data["a"].update(memory="much", swap=0, clock_skew=True, addresses={"eth0": "x"}),
        [
            "8:17: a: 'clock_skew' must be a number, this is a boolean",
            "9:11: a: 'swap' must be true or false, this is a number",
            "10:13: a: 'memory' must be a whole number, this is a text",
            "11:16: a: 'addresses' must be a mapping of lists of texts, this is a mapping",
        ],
    ),
    (
        "wrong types in mappings",
        lambda data: data["a"].update(mtus={"eth0": "1500"}, drivers={"eth0": 7}, unsettable=[7]),
        [
            "34:11: a: 'mtus' must be a mapping of whole numbers, this is a mapping",
            "37:14: a: 'drivers' must be a mapping of texts, this is a mapping",
            "40:17: a: 'unsettable' must be a list of texts, this is a list",
        ],
    ),
    (
        "an architecture that is none",
        lambda data: data["a"].update(architecture="amd46"),
        ["3:19: a: there is no architecture 'amd46' (did you mean 'amd64'?)"],
    ),
]


@pytest.mark.parametrize(("name", "spoil", "problems"), WRONG, ids=[each[0] for each in WRONG])
def test_what_is_wrong_is_told(
    name: str, spoil: Callable[[Data], Any], problems: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "facts.json"
    write_facts(path, {"a": FACTS, "b": FACTS, "wroker2": FACTS})
    data = json.loads(path.read_text())
    spoiled = spoil(data)
    path.write_text(json.dumps(spoiled if name == "a list" else data, indent=1))
    with pytest.raises(InputError) as caught:
        read_facts(path, ["a", "b", "wroker2"])
    found = [str(each).removeprefix(f"{path}:") for each in caught.value.problems]
    assert len(found) == len(problems), found
    for each, expected in zip(found, problems, strict=True):
        assert each.startswith(expected), found


def test_a_file_that_is_cut_off(tmp_path: Path) -> None:
    write_facts(tmp_path / "f", {"a": FACTS})
    (tmp_path / "f").write_text((tmp_path / "f").read_text()[:60])
    with pytest.raises(InputError, match="is not closed"):
        read_facts(tmp_path / "f", ["a"])
