"""The rules of tests/conftest.py, by runs of pytest on small trees of tests."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"
MARKERS = ("unit", "hosts", "cluster", "soak", "upstream")
GOOD = "def test_good():\n    pass\n"
SKIPPED = GOOD + "import pytest\n\ndef test_skipped():\n    pytest.skip('no sshd')\n"
XFAIL = GOOD + "import pytest\n\n@pytest.mark.xfail\ndef test_known():\n    raise ValueError\n"
MARKED = GOOD + "import pytest\n\n@pytest.mark.{mark}\ndef test_marked():\n    raise ValueError\n"
ALL = {"unit": GOOD, "hosts": GOOD, "cluster": GOOD}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for tier in ALL:
        (tmp_path / "tests" / tier).mkdir(parents=True)
    shutil.copy(CONFTEST, tmp_path / "tests")
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\ntestpaths = tests\nmarkers =\n  " + "\n  ".join(MARKERS) + "\n"
    )
    return tmp_path


def run(
    tree: Path, files: Mapping[str, str], *words: str, strict: bool = True, **more: str
) -> tuple[int, str]:
    """The exit status of pytest, and what it printed."""
    for tier, text in files.items():
        (tree / "tests" / tier / f"test_{tier}.py").write_text(text)
    unset = {"PROVISION_ALL_TIERS", "PROVISION_UPSTREAM", "PYTEST_ADDOPTS"}
    environment = {key: value for key, value in os.environ.items() if key not in unset} | more
    if strict:
        environment["PROVISION_ALL_TIERS"] = "1"
    argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-v", *words]
    done = subprocess.run(argv, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_cheap_tiers_come_first_and_the_last_line_is_pytests(tree: Path) -> None:
    status, output = run(tree, ALL)
    assert status == 0, output
    places = [output.index(f"tests/{tier}/test_{tier}.py::test_good PASSED") for tier in ALL]
    assert places == sorted(places)
    assert "3 passed in" in output.splitlines()[-1]


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"unit": GOOD, "hosts": GOOD}, "no test of tier cluster ran"),
        (ALL | {"hosts": SKIPPED}, "skipped tests/hosts/test_hosts.py::test_skipped: Skipped: no sshd"),
        (ALL | {"cluster": MARKED.format(mark="skip")}, "skipped tests/cluster/test_cluster.py::test_marked"),
    ],
)
def test_what_proves_less_has_failed(tree: Path, files: Mapping[str, str], told: str) -> None:
    status, output = run(tree, files)
    assert status == 1, output
    assert told in output
    assert run(tree, files, strict=False)[0] == 0, "on a developer's machine it may be so"


def test_a_known_failure_is_no_skip(tree: Path) -> None:
    assert run(tree, ALL | {"unit": XFAIL})[0] == 0


@pytest.mark.parametrize("mark", ["soak", "upstream"])
def test_left_out_unless_there_is_reason(tree: Path, mark: str) -> None:
    files = ALL | {"cluster": MARKED.format(mark=mark)}
    assert run(tree, files)[0] == 0
    asked = {"soak": run(tree, files, "-m", "soak"), "upstream": run(tree, files, PROVISION_UPSTREAM="/x")}[
        mark
    ]
    assert asked[0] == 1
    assert "1 failed" in asked[1]


def test_one_tier(tree: Path) -> None:
    status, output = run(tree, ALL | {"hosts": "import not_there\n"}, "--tier", "unit", strict=False)
    assert status == 0, "a broken file of another tier is not even imported"
    assert "1 passed in" in output
    assert "2 passed" in run(tree, ALL, "-m", "unit or cluster", strict=False)[1]


def test_no_test_at_all_is_a_failure(tree: Path) -> None:
    assert run(tree, {}, strict=False)[0] == 5


def test_unit_tests_have_a_state_folder_of_their_own(tree: Path) -> None:
    see = "import os\n\ndef test_it():\n    assert ('pytest' in os.environ.get('XDG_STATE_HOME', '')) is {}\n"
    files = {"unit": see.format(True), "hosts": see.format(False)}
    status, output = run(tree, files, strict=False, XDG_STATE_HOME="/nowhere")
    assert status == 0, output


def test_a_shared_lab_ends_when_nobody_shares_it_any_more(tree: Path) -> None:
    """And files with labs of their own are groups of their own: another process can take them."""
    shared = """
import contextlib, pytest

@pytest.fixture(scope="session")
def lab(request):
    with contextlib.ExitStack() as stack:
        stack.callback(lambda: print("the lab ends"))
        request.config.pluginmanager.register(stack, "shared lab")
        yield
"""
    (tree / "tests/cluster/conftest.py").write_text(shared)
    for name in ("a", "b"):
        (tree / f"tests/cluster/test_{name}.py").write_text(f"def test_{name}(lab):\n    print('{name}')\n")
    (tree / "tests/cluster/test_migrate.py").write_text("def test_own():\n    print('own')\n")
    status, output = run(tree, {}, "-s", strict=False)
    assert status == 0, output
    told = [line for line in output.splitlines() if line in ("b", "own", "the lab ends") or "PASSED" in line]
    assert output.count("the lab ends") == 1
    assert output.index("test_b.py") < output.index("the lab ends") < output.index("own\n"), told
    status, output = run(tree, {}, "-n", "2", "--dist", "loadscope", "--no-loadscope-reorder", strict=False)
    assert status == 0, output
    process = {line.split()[-1]: line.split()[0] for line in output.splitlines() if " PASSED " in line}
    assert process["tests/cluster/test_a.py::test_a"] == process["tests/cluster/test_b.py::test_b"]


def test_files_with_labs_of_their_own_come_behind_the_shared_one() -> None:
    order = loaded(CONFTEST.parent / "cluster" / "conftest.py").ORDER
    assert set(order[order.index("test_bare") :]) == loaded(CONFTEST).OWN_LABS


def loaded(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("some_conftest", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
