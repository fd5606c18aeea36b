"""Wrong specs: each case is the base inventory with a slip, and every problem that must be found in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from provisioner.errors import InputError, Problem
from provisioner.spec.load import load_cluster

DATA = Path(__file__).parents[1] / "data" / "spec"
BASE = (DATA / "base.yaml").read_text()


def _cases() -> list[Any]:
    return [
        pytest.param(case, id=f"{table.stem}: {case['name']}")
        for table in sorted(DATA.glob("*.yaml"))
        if table.name != "base.yaml"
        for case in yaml.safe_load(table.read_text())
    ]


def _slipped(case: dict[str, Any]) -> str:
    text = BASE
    for old, new in case["replace"].items():
        assert old in text, f"the case replaces '{old}', which is not in the base"
        text = text.replace(old, new, 1)
    return text


def _fits(problem: Problem, expected: str) -> bool:
    place, reason, hint = (part.strip() for part in expected.split(" |", 2))
    return f"{problem.line}:{problem.column}" == place and reason in problem.reason and hint in problem.hint


@pytest.mark.parametrize("case", _cases())
def test_every_problem_is_found_and_no_other(case: dict[str, Any], tmp_path: Path) -> None:
    inventory = tmp_path / "inventory.yaml"
    inventory.write_text(_slipped(case))
    with pytest.raises(InputError) as caught:
        load_cluster(inventory)
    problems = caught.value.problems
    found = "\n".join(map(str, problems))
    assert all(problem.file == str(inventory) for problem in problems), found
    assert len(problems) == len(case["problems"]), found
    for expected in case["problems"]:
        assert any(_fits(problem, expected) for problem in problems), f"{expected}\nin\n{found}"
    assert caught.value.exit_code == 3
