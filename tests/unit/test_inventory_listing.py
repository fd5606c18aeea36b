"""`provision inventory`: what ansible-inventory says of the same files, and no secret."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from provisioner.action.listing import listing, variables_of
from provisioner.cli.inventory import command
from provisioner.errors import InputError
from provisioner.inventory.graph import ALL
from provisioner.inventory.load import load_inventory
from provisioner.report.listing import graph_lines

ROOT = Path(__file__).parents[2]
CASES = yaml.safe_load((ROOT / "tests/data/inventory/listing.yaml").read_text(encoding="utf-8"))

SECRETS = """
all:
  vars:
    ansible_become_pass: one
    db_password: two
    nested: {api_token: three, note: shown}
    vault: !secret {env: NOT_SET_ANYWHERE}
    proxy_password_length: 12
  hosts: {a: {ansible_ssh_pass: four}}
"""


def written(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder / "inventory.yaml"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_the_answers_of_ansible(case: dict[str, Any], tmp_path: Path) -> None:
    inventory = load_inventory(written(tmp_path, case["files"]))
    assert listing(inventory) == case["list"]
    assert graph_lines(inventory, ALL) == case["graph"].splitlines()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_the_recorded_answers_are_those_of_ansible(case: dict[str, Any], tmp_path: Path) -> None:
    """Asked again where the measurements' environment of ansible-core is there."""
    found = sorted(Path("~/.cache/provision/bench").expanduser().glob("ansible-*/bin/ansible-inventory"))
    if not found:
        assert case["list"]["_meta"]["hostvars"]
        return
    path = written(tmp_path, case["files"])

    def ask(option: str) -> str:
        environment = {
            **os.environ,
            "ANSIBLE_LOCAL_TEMP": str(tmp_path / "tmp"),
            "ANSIBLE_HOME": str(tmp_path),
        }
        words = [str(found[-1]), "-i", str(path), option]
        return subprocess.run(words, env=environment, capture_output=True, text=True, check=True).stdout

    told = json.loads(ask("--list"))
    told["_meta"].pop("profile", None)  # since 2.19: how values are tagged
    assert told == case["list"]
    assert ask("--graph").splitlines() == case["graph"].splitlines()


def test_secrets_are_masked(tmp_path: Path) -> None:
    inventory = load_inventory(written(tmp_path, {"inventory.yaml": SECRETS}))
    text = json.dumps(listing(inventory))
    for secret in ("one", "two", "three", "four", "NOT_SET"):
        assert secret not in text
    own = variables_of(inventory, "a")
    assert own["nested"] == {"api_token": "********", "note": "shown"}
    assert own["vault"] == own["ansible_ssh_pass"] == "********"
    assert own["proxy_password_length"] == 12


def test_keys_that_are_no_text_are_json_all_the_same(tmp_path: Path) -> None:
    text = "all: {hosts: {a: {m: {2: x, yes: y, z: w}}}}"
    path = written(tmp_path, {"inventory.yaml": text})
    done = CliRunner().invoke(command, [str(path), "--list"])
    assert done.exit_code == 0, done
    assert json.loads(done.output)["_meta"]["hostvars"]["a"]["m"] == {"2": "x", "true": "y", "z": "w"}


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--host", "cp2"], "did you mean 'cp1'?"),
        (["--list", "--graph"], "exclude each other"),
        (["--graph", "--json"], "use --list"),
    ],
)
def test_wrong_words(words: list[str], reason: str, tmp_path: Path) -> None:
    path = written(tmp_path, {"inventory.yaml": "all: {hosts: {cp1: {}}}"})
    done = CliRunner().invoke(command, [str(path), *words])
    assert isinstance(done.exception, InputError)
    assert reason in str(done.exception)


def test_the_default_is_the_tree(tmp_path: Path) -> None:
    path = written(tmp_path, {"inventory.yaml": "all: {hosts: {cp1: {}}}"})
    assert CliRunner().invoke(command, [str(path)]).output == "@all:\n  |--@ungrouped:\n  |  |--cp1\n"
    assert json.loads(CliRunner().invoke(command, [str(path), "--json"]).output)["ungrouped"] == {
        "hosts": ["cp1"]
    }
