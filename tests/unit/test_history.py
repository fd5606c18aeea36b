"""What a run writes to its journal is what `provision history` says of it."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from provisioner.action.apply import apply
from provisioner.action.load import Request
from provisioner.action.start import start
from provisioner.cli.history import command
from provisioner.engine import events as ev
from provisioner.engine.history import find_run, records
from provisioner.engine.journal import journal, runs_directory
from provisioner.errors import InputError, LockedError, ProvisionError, UnreachableError
from provisioner.report.history import run_lines, run_table

CHANGED = ev.Changed(
    stage="etcd", host="cp1", resource="systemd:etcd.service", action="restart", detail="inputs"
)
FAILED = ev.Failed(stage="etcd", host="cp1", resource="file:/etc/a", reason="the disk is full")


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    path = tmp_path / "inventory.yaml"
    path.write_text("all: {hosts: {cp1: {}}}")
    return path


def run(
    name: str, inventory: Path, *events: ev.Event, ok: bool | None = True, fault: BaseException | None = None
) -> None:
    """A run that wrote its journal; `ok` None is one that was killed."""
    try:
        with journal(name, ev.silent) as emit:
            emit(
                ev.RunStarted(
                    time=1000.0,
                    run=name,
                    command="apply",
                    inventory=inventory.name,
                    hosts=("cp1",),
                    who="ann@desk",
                    path=str(inventory.resolve()),
                    options="--limit cp1",
                )
            )
            for event in events:
                emit(event)
            if fault is not None:
                raise fault
            if ok is not None:
                emit(ev.RunEnded(run=name, ok=ok, seconds=4.25))
    except (ProvisionError, KeyboardInterrupt, KeyError):
        pass


def test_newest_first_with_all_that_is_known(inventory: Path) -> None:
    run("20260101-000000-aaaa", inventory, CHANGED, CHANGED)
    run("20260102-000000-bbbb", inventory, CHANGED, FAILED, ok=False)
    newest, oldest = records(inventory)
    assert (newest.run, newest.result, newest.changes) == ("20260102-000000-bbbb", "failed", 1)
    assert newest.reason == "cp1: file:/etc/a: the disk is full"
    assert (oldest.result, oldest.changes, oldest.seconds, oldest.began) == ("ok", 2, 4.25, 1000.0)
    assert (oldest.who, oldest.command, oldest.options) == ("ann@desk", "apply", "--limit cp1")


def unchanged(fault: ProvisionError) -> ProvisionError:
    fault.unchanged = True
    return fault


@pytest.mark.parametrize(
    ("fault", "result", "reason"),
    [
        (unchanged(LockedError("bob holds the lock")), "refused", "bob holds the lock"),
        (unchanged(ProvisionError("swap is on")), "refused", "swap is on"),
        (ProvisionError("nothing was changed"), "failed", "nothing was changed"),
        (ProvisionError("the disk is full"), "failed", "the disk is full"),
        (KeyboardInterrupt(), "interrupted", "interrupted"),
        (KeyError("x"), "failed", "KeyError: 'x'"),
    ],
)
def test_what_stopped_a_run_is_on_record(
    inventory: Path, fault: BaseException, result: str, reason: str
) -> None:
    run("20260101-000000-aaaa", inventory, fault=fault)
    (found,) = records(inventory)
    assert (found.result, found.reason) == (result, reason)


def test_a_run_that_reaches_no_host_is_refused(inventory: Path, tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        inventory.write_text(f"all: {{hosts: {{cp1: {{ansible_host: 127.0.0.1, ansible_port: {port}}}}}}}")
        playbook = tmp_path / "book.yaml"
        playbook.write_text("- {name: one, hosts: all, tasks: [{command: {cmd: 'true', creates: /a}}]}")
        with pytest.raises(UnreachableError) as caught:
            apply(start(Request(inventory, playbook=playbook)), ev.silent)
    assert caught.value.unchanged
    assert caught.value.resume == f"provision apply {inventory} --playbook {playbook}"
    (found,) = records(inventory)
    assert (found.result, found.reason) == ("refused", caught.value.reason)


def test_a_killed_run_is_unfinished(inventory: Path) -> None:
    run("20260101-000000-aaaa", inventory, CHANGED, ok=None)
    path = runs_directory() / "20260101-000000-aaaa.jsonl"
    path.write_text(path.read_text() + '{"event":"Chan')  # killed while it wrote
    (found,) = records(inventory)
    assert (found.result, found.changes) == ("unfinished", 1)


def test_other_inventories_and_damaged_journals_are_left_out(inventory: Path, tmp_path: Path) -> None:
    run("20260101-000000-aaaa", tmp_path / "other.yaml")
    for name, text in (("empty", ""), ("garbled", "{{{\n"), ("list", "[]\n"), ("binary", "\x00\xff\n")):
        (runs_directory() / f"{name}.jsonl").write_text(text, encoding="latin-1")
    (runs_directory() / "headless.jsonl").write_text(json.dumps({"event": "Step", "path": str(inventory)}))
    assert list(records(inventory)) == []


def test_journals_of_earlier_versions(inventory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They name the inventory as it was typed, and nobody."""
    monkeypatch.chdir(inventory.parent)
    runs_directory().mkdir(parents=True)
    head = {"event": "RunStarted", "time": 5, "run": "r", "command": "apply", "inventory": "inventory.yaml"}
    (runs_directory() / "r.jsonl").write_text(json.dumps(head) + "\n")
    (found,) = records(inventory)
    assert (found.who, found.run) == ("", "r")
    for code, result in ((1, "failed"), (5, "refused")):
        stopped = {"event": "RunStopped", "time": 6, "run": "r", "reason": "no", "exit_code": code}
        (runs_directory() / "r.jsonl").write_text(json.dumps(head) + "\n" + json.dumps(stopped) + "\n")
        (found,) = records(inventory)
        assert (found.result, found.reason) == (result, "no")


def test_one_run_by_the_beginning_of_its_id(inventory: Path) -> None:
    run("20260101-000000-aaaa", inventory, CHANGED, FAILED, ok=False)
    run("20260102-000000-bbbb", inventory)
    found, changes = find_run(inventory, "20260101")
    assert found.run == "20260101-000000-aaaa"
    assert [(each.host, each.resource, each.failed) for each in changes] == [
        ("cp1", "systemd:etcd.service", False),
        ("cp1", "file:/etc/a", True),
    ]
    for wrong, reason in (
        ("2026", "2 runs begin with '2026'"),
        ("20260102-000000-bbbc", "did you mean '20260102-000000-bbbb'?"),
    ):
        with pytest.raises(InputError) as raised:
            find_run(inventory, wrong)
        assert reason in str(raised.value)


def typed(*words: str | Path) -> str:
    done = CliRunner().invoke(command, [str(word) for word in words])
    assert done.exit_code == 0, done
    return done.output


def test_the_table(inventory: Path) -> None:
    assert "no run with this inventory" in typed(inventory)
    for number in range(3):
        run(f"2026010{number}-000000-aaaa", inventory, *[CHANGED] * number)
    head, *lines = run_table(list(records(inventory)))
    assert [line.text.split()[-3:] for line in lines] == [[str(count), "4.2", "s"] for count in (2, 1, 0)]
    assert head.text.split()[:3] == ["when", "run", "who"]
    assert len(typed(inventory, "-n", "2").splitlines()) == 3
    values = [json.loads(line) for line in typed(inventory, "--json").splitlines()]
    assert [value["changes"] for value in values] == [2, 1, 0]


def test_the_changes_of_a_run(inventory: Path) -> None:
    run("20260101-000000-aaaa", inventory, CHANGED, FAILED, ok=False)
    lines = [line.text for line in run_lines(*find_run(inventory, "2026"))]
    assert lines[-3:] == [
        "etcd",
        "  ↻ cp1  systemd:etcd.service  (inputs)",
        "  ! cp1  file:/etc/a  (the disk is full)",
    ]
    value = json.loads(typed(inventory, "--run", "2026", "--json"))
    assert [each["action"] for each in value["changed"]] == ["restart", ""]


def test_the_user_s_own_steering_characters_are_shown(inventory: Path) -> None:
    run("20260101-000000-aaaa", inventory, fault=LockedError("\x1b[2Jgone"))
    assert "\x1b" not in typed(inventory, "--run", "2026")
