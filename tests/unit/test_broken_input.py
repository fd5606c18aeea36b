"""The corpus of broken input: whatever is wrong in a file is told at once, in order, in these very words."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from broken import DATA, INPUTS, KEYS, READERS, Broken, cases, told

from provisioner.inventory import compose
from provisioner.spec import load, rules
from provisioner.spec.draft import Draft
from provisioner.spec.schema import CLUSTER, HOST
from provisioner.spec.validation import Fault, validate

CASES = list(cases())
LEAST = 120
PLACED = re.compile(r"[^\s:]+(:[1-9][0-9]*:[1-9][0-9]*)?: \S.*")


def _in(folder: Path, case: Broken, monkeypatch: pytest.MonkeyPatch) -> None:
    case.write(folder)
    monkeypatch.chdir(folder)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_is_told(case: Broken, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _in(tmp_path, case, monkeypatch)
    found = told(case)
    block = "  says: |\n" + "".join(f"    {line}\n" for line in found.splitlines())
    assert found == case.says, (
        f"{case.table}.yaml, '{case.name}': when this is what a user should read:\n{block}"
    )


@pytest.mark.parametrize("case", [case for case in CASES if case.table == "inventory/documents"], ids=str)
def test_yaml_s_other_parser_finds_the_same(
    case: Broken, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PyYAML without its C library: the places and the words do not depend on how it was built."""
    monkeypatch.setattr(compose, "_Loader", yaml.SafeLoader)
    _in(tmp_path, case, monkeypatch)
    assert told(case) == case.says


def test_cases_are_well_formed() -> None:
    """Every line of every case is a whole message: nothing in the corpus is compared by a part of it."""
    for case in CASES:
        assert case.raw.keys() <= KEYS, (
            f"{case}: unknown {sorted(case.raw.keys() - KEYS)}; see tests/unit/broken.py"
        )
        assert len(case.raw.keys() & set(INPUTS)) == 1, f"{case}: needs one of {INPUTS}"
        *problems, last = case.says.splitlines() or [""]
        if problems:
            assert last == f"{len(problems)} problems", case
        wrong = [line for line in problems or [last] if not PLACED.fullmatch(line)]
        assert not wrong, f"{case}: 'says' must be the whole text on stderr, line by line: {wrong}"
    assert len({str(case) for case in CASES}) == len(CASES), "two cases of a table have one name"


def test_there_are_enough() -> None:
    by_kind = {
        kind: sum(case.table.startswith(kind) for case in CASES) for kind in ("spec", "inventory", "playbook")
    }
    assert by_kind["spec"] + by_kind["inventory"] >= LEAST, by_kind
    assert all(by_kind.values())
    several = sum(case.says.count("\n") > 2 for case in CASES)
    assert several >= 30, "mistakes that come together are told together"


def _leaves(schema: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, rule in schema.items():
        if rule["type"] == "dict" and "schema" in rule:
            yield from _leaves(rule["schema"], (*path, key))
        else:
            yield (*path, key)


def test_every_key_and_every_rule_has_a_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    every_rule = rules.RULES
    keys: set[tuple[str, ...]] = set()
    broken_rules: set[str] = set()

    def noted(data: Any, schema: Mapping[str, Any], *more: Any) -> list[Fault]:
        faults = validate(data, schema, *more)
        for fault in faults:
            path = tuple(step for step in fault.path if isinstance(step, str))
            keys.update(
                ("host" if schema is HOST else "cluster", *path[:depth]) for depth in range(len(path) + 1)
            )
        return faults

    def watched(rule: rules.Rule) -> rules.Rule:
        def run(draft: Draft) -> Iterator[Any]:
            for problem in rule(draft):
                broken_rules.add(rule.__name__)
                yield problem

        return run

    monkeypatch.setattr(load, "validate", noted)
    monkeypatch.setattr(rules, "RULES", tuple(map(watched, every_rule)))
    for number, case in enumerate(case for case in CASES if case.table.startswith("spec/")):
        (tmp_path / str(number)).mkdir()
        _in(tmp_path / str(number), case, monkeypatch)
        told(case)
    leaves = [("cluster", *leaf) for leaf in _leaves(CLUSTER)] + [("host", *leaf) for leaf in _leaves(HOST)]
    missing = [".".join(leaf) for leaf in leaves if leaf not in keys]
    how = (
        "add a case to a table of tests/data/spec: 'name', 'replace' (texts of base.yaml, so that the value of the key"
        " becomes wrong) and 'says' (all that `provision plan` then prints; leave it empty once, and the test of the"
        " case shows it: read it as a user would)"
    )
    assert not missing, f"no broken spec has these keys of provisioner/spec/schema.py: {missing}; {how}"
    unbroken = sorted({rule.__name__ for rule in every_rule} - broken_rules)
    assert not unbroken, f"no broken spec breaks these rules of provisioner/spec/rules: {unbroken}; {how}"


def test_every_table_is_read() -> None:
    """A table of cases that no test reads would prove nothing."""
    tables = {
        str(path.relative_to(DATA).with_suffix(""))
        for path in DATA.glob("*/*.yaml")
        if re.search(r"^  says:", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert tables == set(READERS)


SAMPLE = [
    "spec/cidrs: five octets, the trace of a bad replacement",
    "spec/keys: a mistake of each kind at once",
    "spec/keys: control characters",
    "spec/roles: a name in capitals with a domain",
    "inventory/documents: duplicate keys",
    "inventory/documents: tab",
    "inventory/files: variables files of groups and hosts, each wrong in its own way",
    "inventory/files: UTF-16, as Notepad writes it",
]


@pytest.mark.parametrize("name", SAMPLE)
def test_the_command_says_it_and_ends_with_3(name: str, tmp_path: Path) -> None:
    case = next(case for case in CASES if str(case) == name)
    case.write(tmp_path)
    command = "plan" if case.table.startswith("spec/") else "inventory"
    done = subprocess.run(
        [str(Path(sys.executable).with_name("provision")), command, case.main],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (3, "", case.says)
