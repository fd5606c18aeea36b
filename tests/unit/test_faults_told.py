"""What of a failure is told: its cause from what programs say, what was not made, and whose run has ended."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence

import pytest

from provisioner.action.reach import all_reached
from provisioner.engine import events as ev
from provisioner.engine.execute import Outcome
from provisioner.engine.journal import is_over, journal, runs_directory
from provisioner.engine.plan import Plan, StagePlan
from provisioner.errors import ProvisionError, UnreachableError
from provisioner.remote.causes import cause_of
from provisioner.remote.dial import UNANSWERED, Timeouts
from provisioner.remote.pulse import Pulse
from provisioner.report.faults import tell
from provisioner.report.wording import lines_of
from provisioner.resources.model import Absent, Change, Present, Resource

CAUSES = [
    (
        "dd: error writing 'standard output': No space left on device",
        1,
        "the disk is full",
        "make room on cp1",
    ),
    (
        "mkdir: cannot create directory '/x': Read-only file system",
        1,
        "the file system is read-only",
        "`dmesg` on cp1",
    ),
    ("tar: This does not look like a tar archive", 98, "what was sent did not arrive whole", ".bashrc"),
    ("Password change required but no TTY available.", 1, "its password has expired", "on cp1 (`passwd`)"),
    ("", 137, "it was killed (SIGKILL)", "oom` on cp1"),
    (
        "No space left on device\nsh: cannot fork: Cannot allocate memory",
        2,
        "memory has run out",
        "`free -m` on cp1",
    ),
    ("Job for x.service failed", 1, "", ""),
]


@pytest.mark.parametrize(
    ("said", "status", "cause", "hint"), CAUSES, ids=[each[2] or "none" for each in CAUSES]
)
def test_the_cause_is_named(said: str, status: int, cause: str, hint: str) -> None:
    found = cause_of(said, "cp1", status)
    assert found[0] == cause
    assert hint in found[1]


def test_hosts_that_are_lost_for_different_reasons_have_hints_of_their_own() -> None:
    lost: dict[str, int | Exception] = {
        "a": UnreachableError("a: refused", "is sshd running?"),
        "b": UnreachableError("b: no answer", "is it up?"),
        "c": UnreachableError("c: no answer", "is it up?"),
        "d": 4,
    }
    with pytest.raises(UnreachableError) as caught:
        all_reached(lost)
    assert caught.value.reason == "a: refused\nb: no answer\nc: no answer"
    assert caught.value.hint == "a: is sshd running?\nb, c: is it up?"


def test_a_host_that_falls_silent_is_missed_within_twenty_seconds() -> None:
    timeouts = Timeouts()
    pulse = Pulse(None, timeouts.silence)  # type: ignore[arg-type]  # nothing is asked here
    assert pulse.interval + pulse.silence < 20
    assert max(timeouts.banner, timeouts.channel, timeouts.start, UNANSWERED + pulse.interval) <= 20


def plan(*stages: tuple[str, Sequence[str]]) -> Plan:
    change = Change(Resource("file", "/x", Present()), Absent(), "create")
    made = [StagePlan(name, tuple(hosts), dict.fromkeys(hosts, (change, change))) for name, hosts in stages]
    return Plan("", "", tuple(made))


def test_what_was_not_made_is_counted_and_told() -> None:
    outcome = Outcome(made={("one", "a"): 2, ("one", "b"): 1})
    left = outcome.left(plan(("one", "ab"), ("two", "a")))
    assert left == {"one": {"b": 1}, "two": {"a": 2}}
    ended = ev.RunEnded(
        run="r", ok=False, seconds=3.0, changed={"one": 3}, left=left, resume="provision apply x"
    )
    told = [line.text for line in lines_of(ended)]
    assert told == [
        "failed after 3.0 s; 3 changes were made and stay, 3 not made",
        "  not made: stage 'one' on b (1)",
        "  not made: stage 'two' on a (2)",
        "go on with: provision apply x",
    ]
    none = ev.RunEnded(run="r", ok=False, seconds=3.0, left={"one": {"a": 1}})
    assert lines_of(none)[0].text == "failed after 3.0 s; nothing was changed, 1 not made"


@pytest.mark.parametrize(
    ("unsure", "lines"),
    [
        ("b", ["  changed before: a", "  begun, and not known to be done: b", "  not changed: c"]),
        ("", ["  changed before: a", "  not changed: b, c"]),
    ],
)
def test_what_was_begun_when_a_host_was_lost_is_told_apart(unsure: str, lines: list[str]) -> None:
    failed = ev.Failed(
        stage="s", host="h", resource=unsure, reason="lost", done=("a",), undone=("b", "c"), unsure=unsure
    )
    assert [line.text for line in lines_of(failed)][2:] == lines


def test_an_error_before_the_first_change_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    error = ProvisionError("a: no answer", "is it up?\nis it there?")
    error.unchanged = True
    error.resume = "provision apply x.yaml"
    tell(error)
    assert capsys.readouterr().err.splitlines() == [
        "error: a: no answer",
        "hint: is it up?",
        "hint: is it there?",
        "nothing was changed; then go on with: provision apply x.yaml",
    ]
    tell(error, json=True)
    told = json.loads(capsys.readouterr().out)
    assert (told["unchanged"], told["resume"]) == (True, "provision apply x.yaml")
    error.resume = ""
    tell(error)
    assert capsys.readouterr().err.splitlines()[-1] == "nothing was changed"
    tell(ProvisionError("nothing was changed", "or was it?"), json=True)
    assert "unchanged" not in json.loads(capsys.readouterr().out)


RUN = """\
import sys, time
from provisioner.engine.events import silent
from provisioner.engine.journal import journal
with journal("20260101-000000-0000", silent):
    print("runs", flush=True)
    time.sleep(60)
"""


def test_a_run_is_over_when_its_process_is() -> None:
    run = "20260101-000000-0000"
    assert not is_over(run), "nothing is known of it"
    with subprocess.Popen([sys.executable, "-c", RUN], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "runs\n"
        assert not is_over(run)
        os.kill(process.pid, signal.SIGKILL)
        process.wait(10)
    assert is_over(run)
    with journal(run, ev.silent):
        assert not is_over(run)
    with (runs_directory() / f"{run}.jsonl").open() as stream:
        fcntl.flock(stream, fcntl.LOCK_SH)
        assert is_over(run), "one who only reads holds nothing up"
