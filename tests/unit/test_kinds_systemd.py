"""When a unit restarts: a table of what is recorded, what is read and what the plan does before its turn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from provisioner.engine.diff import diff_all
from provisioner.playbook.compile import Compiler
from provisioner.playbook.load import load_playbook
from provisioner.resources.model import Absent, Change, Present, Resource, ScriptedKind
from provisioner.resources.systemd import SystemdKind

CASES: list[dict[str, Any]] = yaml.safe_load(
    (Path(__file__).parents[1] / "data" / "kinds" / "systemd.yaml").read_text(encoding="utf-8")
)
PATHS = {"U": "/etc/systemd/system/a.service", "C": "/etc/a.conf", "B": "/opt/a"}
SHOWN = {"Id": "a.service", "LoadState": "loaded", "ActiveState": "active", "UnitFileState": "enabled"}


def unit(folder: Path, wanted: dict[str, Any]) -> Resource:
    args = {"name": "a", "inputs": [PATHS["C"], PATHS["B"]], **wanted}
    path = folder / "book.yaml"
    path.write_text(yaml.safe_dump([{"name": "s", "hosts": "all", "tasks": [{"systemd_service": args}]}]))
    modules = {"systemd_service": SystemdKind()}
    playbook = load_playbook(path, set(modules))
    (resource,) = Compiler(playbook, modules).stage(playbook.stages[0], "here", {})
    return resource


def printed(case: dict[str, Any]) -> bytes:
    """What the probe prints in this case."""
    started = {"InvocationID": case.get("invocation", "i1"), "NeedDaemonReload": "no"}
    shown = SHOWN | started | case.get("shown", {})
    digests = {"U": "1", "C": "1", "B": "1", **case.get("digests", {})}
    times = {"U": 50, "C": 50, "B": 50, **case.get("times", {})}
    record = {"U": "1", "C": "1", "B": "1", **(case.get("record") or {})}
    noted = ["i1", *(f"{digest}  {PATHS.get(key, key)}" for key, digest in record.items() if digest)]
    hashed = [f"{long(digest)}  {PATHS[key]}" for key, digest in digests.items() if digest != "-"]
    parts = [
        [f"{key}={value}" for key, value in shown.items()],
        [*(("" if "record" in case and case["record"] is None else long_lines(noted)) or []), "=a.service"],
        [f"{moment} {PATHS[key]}" for key, moment in times.items() if moment is not None],
        [line for line in hashed if "/opt/" in line and "~" not in line],
        [line for line in hashed if "/opt/" not in line or "~" in line],
        ["100"],
    ]
    return "==\n".join("".join(f"{line}\n" for line in lines) for lines in parts).encode()


def long(digest: str) -> str:
    return digest if digest.startswith(("~", "-")) else digest * 64


def long_lines(noted: list[str]) -> list[str]:
    return [
        noted[0],
        *(f"{long(digest)}  {path}" for digest, _, path in (line.partition("  ") for line in noted[1:])),
    ]


def planned(case: dict[str, Any]) -> list[Change]:
    changes = []
    for key, digest in case.get("planned", {}).items():
        path = PATHS.get(key, key)
        attrs = {"sha256": long(digest)} if digest is not None else {}
        wanted = Absent() if digest == "delete" else Present(attrs)
        changes.append(Change(Resource("file", path, wanted, writes=(path,)), Absent(), "update"))
    return changes


def change_of(case: dict[str, Any], folder: Path) -> Change | None:
    resource, kind = unit(folder, case.get("wanted", {})), SystemdKind()
    states = kind.parse(printed(case), [resource])
    changes = diff_all([resource], states, {"systemd": kind}, planned(case))
    return changes[0] if changes else None


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["name"]))
def test_restart_is_state(case: dict[str, Any], tmp_path: Path) -> None:
    change = change_of(case, tmp_path)
    assert (list(change.keys) if change else []) == case["keys"]
    if change is not None:
        assert change.action == case.get("action", "update")
        assert isinstance(change.before, Present | Absent)
        assert "digests" not in getattr(change.before, "attrs", {}), "what only the kind needs is in no plan"


SCRIPTS = {
    "reloaded": (True, False, False),
    "inputs": (True, True, False),
    "active": (True, True, False),
    "enabled": (True, False, True),
}


@pytest.mark.parametrize("key", SCRIPTS)
def test_a_change_does_what_its_key_says_and_no_more(key: str, tmp_path: Path) -> None:
    kind: ScriptedKind = SystemdKind()
    main = kind.change(Change(unit(tmp_path, {}), Present(), "update", (key,))).main.rpartition("\n}\n")[2]
    assert ("daemon-reload" in main, "restart_unit" in main, "enable" in main) == SCRIPTS[key]


def test_two_units_keep_their_own_answers(tmp_path: Path) -> None:
    first = unit(tmp_path, {})
    second = unit(tmp_path, {"name": "b"})
    one, two = printed({}).decode(), printed({"shown": {"Id": "b.service", "ActiveState": "failed"}}).decode()
    both = [f"{a}{b}" for a, b in zip(one.split("==\n"), two.split("==\n"), strict=True)]
    both[0] = f"{one.split('==')[0]}\n{two.split('==')[0]}"
    both[1] = both[1].replace("=a.service\n", "=b.service\n").replace("=b.service\n", "=a.service\n", 1)
    states = SystemdKind().parse("==\n".join(both).encode(), [first, second])
    active = [state.attrs["active"] for state in states.values() if isinstance(state, Present)]
    assert active == [True, False]


@pytest.mark.parametrize("output", [b"", b"==\n", b"Id=a.service\nActiveState=active\n==\n==\n"])
def test_an_answer_that_ends_early_is_unknown(output: bytes, tmp_path: Path) -> None:
    assert SystemdKind().parse(output, [unit(tmp_path, {})]) == {}
