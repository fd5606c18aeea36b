"""What people and programs see of a run."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import sys
from typing import Any

import click
import pytest
import rich.console

from provisioner.engine import events as ev
from provisioner.engine.danger import dangers
from provisioner.engine.journal import as_line
from provisioner.engine.plan import Plan, StagePlan
from provisioner.errors import InputError, Problem, ProvisionError, UnreachableError
from provisioner.report.answers import show_answer
from provisioner.report.confirm import confirm
from provisioner.report.console import Console
from provisioner.report.faults import tell, tell_misuse
from provisioner.report.jsonl import JsonLines
from provisioner.report.plain import PlainLines
from provisioner.report.planned import plan_lines, plan_value, show_plan
from provisioner.report.printable import printable
from provisioner.report.wording import lines_of, size
from provisioner.resources.model import Absent, Change, Present, Resource, Section, State, Unknown

Texts = dict[tuple[str, str], tuple[Section, ...]]

FAILED = ev.Failed(
    stage="etcd",
    host="cp1",
    resource="systemd:etcd.service",
    reason="the script failed",
    status=1,
    script_line="restart_unit etcd.service",
    stderr="bind: address already in use",
    done=("file:/etc/a",),
    undone=("systemd:etcd.service", "file:/etc/b"),
    hint="see the journal",
)


def change(
    kind: str, name: str, before: State, action: str, keys: tuple[str, ...] = (), **more: Any
) -> Change:
    return Change(Resource(kind, name, Present(dict.fromkeys(keys, "new")), **more), before, action, keys)


def plan_of(*changes: Change, texts: Texts | None = None) -> Plan:
    return Plan(
        "inventory.yaml", "digest", (StagePlan("etcd", ("cp1",), {"cp1": changes}, gate="g"),), 7, texts or {}
    )


def test_a_failure_tells_everything() -> None:
    text = "\n".join(line.text for line in lines_of(FAILED))
    for part in ("cp1", "etcd", "systemd:etcd.service", "exit status 1", "restart_unit", "already in use"):
        assert part in text
    assert "changed before: file:/etc/a" in text
    assert "not changed: file:/etc/b" in text
    assert "hint: see the journal" in text


def test_the_end_names_the_command_that_goes_on() -> None:
    ended = ev.RunEnded(run="r", ok=False, seconds=3.0, changed={"etcd": 2}, resume="provision apply x.yaml")
    text = "\n".join(line.text for line in lines_of(ended))
    assert "2 changes were made and stay" in text
    assert "go on with: provision apply x.yaml" in text


@pytest.mark.parametrize(
    ("count", "told"), [(0, "no fault found"), (1, "1 fault found"), (2, "2 faults found")]
)
def test_a_look_ends_with_what_it_found(count: int, told: str) -> None:
    (line,) = lines_of(ev.RunEnded(run="r", ok=True, seconds=3.0, extra={"faults": count}))
    assert line.text == f"{told}, and nothing was changed (3.0 s)"


@pytest.mark.parametrize(
    "event", [FAILED, ev.Progress(task="push", done=1), ev.Answer(host="a"), ev.Step(task="t")]
)
def test_every_event_is_one_json_line(event: ev.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    with JsonLines() as report:
        report.emit(event)
    lines = out.getvalue().splitlines()
    assert len(lines) == 1
    value = json.loads(lines[0])
    assert value["event"] == type(event).__name__
    assert set(value) == {"event"} | {field.name for field in dataclasses.fields(event)}
    assert as_line(event) == lines[0]


def test_input_errors_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    problem = Problem("i.yaml", 3, 7, "unknown key 'mdoe'", "did you mean 'mode'?")
    tell(InputError([problem, problem]), json=True)
    value = json.loads(capsys.readouterr().out)
    assert value["exit_code"] == 3
    assert value["problems"] == [dataclasses.asdict(problem)]


def test_errors_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    tell(InputError([Problem("i.yaml", 3, 7, "bad"), Problem("i.yaml", 2, 1, "worse", "try x")]))
    assert capsys.readouterr().err.splitlines()[:2] == ["i.yaml:2:1: worse (try x)", "i.yaml:3:7: bad"]
    tell(UnreachableError("cp1: no route", "is it up?"))
    assert capsys.readouterr().err == "error: cp1: no route\nhint: is it up?\n"


def test_a_plan_shows_diffs_and_hides_secrets() -> None:
    secret = Change(
        Resource("file", "/etc/key", Present({"sha256": "SECRETDIGEST", "mode": "600"}), secret=True),
        Present({"sha256": "OLDDIGEST", "mode": "600"}),
        "update",
        ("sha256",),
    )
    plain = change("file", "/etc/a", Present({"mode": "old"}), "update", ("mode",))
    texts: Texts = {("cp1", "file:/etc/a"): (Section("", "one\n", "two\n"),)}
    plan = plan_of(plain, secret, texts=texts)
    text = "\n".join(line.text for line in plan_lines(plan))
    assert "-one" in text
    assert "+two" in text
    assert "mode: old → new" in text
    dumped = json.dumps(plan_value(plan))
    for word in ("SECRETDIGEST", "OLDDIGEST"):
        assert word not in text
        assert word not in dumped


def test_a_plan_counts_in_good_english() -> None:
    one = change("file", "/etc/a", Absent(), "create")
    assert plan_lines(plan_of(one))[-1].text == "1 change on 1 host (0 deletes), 7 resources read"
    gone = Change(Resource("user", "etcd", Absent()), Present({}), "delete")
    assert plan_lines(plan_of(one, gone))[-1].text == "2 changes on 1 host (1 delete), 7 resources read"
    assert plan_lines(Plan("i", "d", (), 1))[-1].text == "nothing to change: 1 resource is as wanted"


def test_a_plan_of_nothing_does_not_say_that_all_is_well() -> None:
    (line,) = plan_lines(Plan("i", "d", ()))
    assert (line.text, line.style) == ("nothing to change: nothing was selected", "warn")


def test_a_plan_names_the_files_that_are_moved_aside() -> None:
    found = Present({"paths": ("/etc/cni/net.d/05-a.conf", "/etc/cni/net.d/07-b.conf")})
    aside = Change(Resource("displaced_paths", "/etc/cni/net.d", Absent()), found, "delete")
    shown = [line.text for line in plan_lines(plan_of(aside))]
    assert "  - cp1  displaced_paths:/etc/cni/net.d  (moves aside 05-a.conf, 07-b.conf)" in shown


def test_what_cannot_be_read_is_said() -> None:
    text = "\n".join(
        line.text for line in plan_lines(plan_of(change("manifest", "x", Unknown("no API"), "update")))
    )
    assert "cannot be read yet: no API" in text


def test_consent() -> None:
    running = Present({"active": True, "inputs": "stale"})
    restart = change("systemd", "etcd.service", running, "update", ("inputs",))
    first = change("systemd", "etcd.service", Absent(), "create", ("inputs",))
    reload_only = change("systemd", "etcd.service", running, "update", ("reloaded",))
    delete = change("user", "etcd", Present(), "delete")
    ours, theirs = {"paths": ("/a", "/b"), "foreign": ()}, {"paths": tuple("abcde"), "foreign": tuple("abcd")}
    token = change("bootstrap_token", "any", Present(), "delete")
    left = change("absent_paths", "/etc/kubernetes/bootstrap.kubeconfig", Present(ours), "delete")
    foreign = change("absent_paths", "/etc/cni/net.d/*", Present(theirs), "delete")
    other = change("systemd", "kubelet.service", running, "update", ("inputs",))
    assert dangers(plan_of(first, reload_only, token, left, other), established=True) == ()
    assert dangers(plan_of(restart), established=False) == ()
    assert dangers(plan_of(restart), established=True) == ("cp1: restarts etcd.service, which is running",)
    renamed = change("api_certificate", "/a.pem", Present({"lacks": ("api",)}), "update", ("lacks",))
    told = "cp1: restarts kube-apiserver.service, which is running"
    assert dangers(plan_of(renamed), established=True) == (told,)
    assert dangers(plan_of(delete), established=False) == ("cp1: deletes user:etcd",)
    told = "cp1: deletes a, b, c and 1 more, which it did not put there"
    assert dangers(plan_of(foreign), established=False) == (told,)


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (3 << 30, "3.0 GiB")]
)
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text


STEERING = "\x1b[2Jx\x07\x9b1m\r\u202egnp\u200b\ud800é→"
SHOWN = "\\x1b[2Jx\\x07\\x9b1m\\r\\u202egnp\\u200b\\ud800é→"


def test_only_what_steers_is_escaped() -> None:
    assert printable(STEERING) == SHOWN
    assert printable("a\tb\n  ü 漢 → ✓ \U0001f600") == "a\tb\n  ü 漢 → ✓ \U0001f600"


def _through_console(event: ev.Event) -> str:
    console = Console()
    console._console = rich.console.Console(file=io.StringIO(), force_terminal=True, width=400)
    console.emit(event)
    return console._console.file.getvalue()  # type: ignore[attr-defined, no-any-return]  # it is a StringIO


def test_what_hosts_say_does_not_steer_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = dataclasses.replace(FAILED, stderr=STEERING, host=STEERING, reason=STEERING)
    PlainLines().emit(failed)
    tell(ProvisionError(STEERING, STEERING))
    tell(InputError([Problem("f", 1, 1, STEERING + "\nall is well", STEERING)]))
    tell_misuse(click.UsageError(STEERING))
    show_answer(
        ev.Answer(host="h", stdout=STEERING.replace("\r", ""), stderr="", error=STEERING), as_json=False
    )
    texts: Texts = {("cp1", "file:/etc/a"): (Section(STEERING, "a", STEERING.replace("\r", "")),)}
    show_plan(plan_of(change("file", "/etc/a", Absent(), "create"), texts=texts), as_json=False)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    confirm([STEERING], PlainLines())
    shown = capsys.readouterr()
    for text in (shown.out, shown.err, re.sub(r"\x1b\[[0-9;]*m", "", _through_console(failed))):
        assert "\\x1b[2J" in text
        assert not set("\x1b\x07\x9b\r\u202e\u200b\ud800") & set(text)
    assert "\\nall is well" in shown.err, "a problem is one line"
