"""How scripts are put together and what their output says, also when it is cut off anywhere."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from localhost import SHELLS, LocalSession

from provisioner.shell.assemble import (
    StepRecord,
    change_script,
    parse_probes,
    parse_steps,
    probe_script,
    split_trace,
)
from provisioner.shell.quote import glob_word, quote, words
from provisioner.shell.script import Blob, Script


def records(*journal: str) -> list[StepRecord]:
    return [StepRecord(line) for line in journal]


@pytest.fixture(params=SHELLS)
def session(request: pytest.FixtureRequest, tmp_path: Path) -> LocalSession:
    return LocalSession(tmp_path, request.param)


FRAGMENTS = [
    Script("echo one; echo wrong >&2\n"),
    Script("printf 'no newline at the end'\n"),
    Script("printf 'ok 7\\nfail 1 1\\nprobes 0 1 0\\n'; exit 3\n"),
    Script(""),
    Script('cat "$P/data"\n', {"data": Blob.of(b"\0\xff\nprobes 0 0 0\n")}),
    Script("cat; cd /; x=1; exit 0\n"),
    Script('echo "${x-unset} $(basename "$P")"; head -c 300000 /dev/zero\n'),
]


def test_every_probe_is_answered_by_itself(session: LocalSession) -> None:
    answers = parse_probes(session.run(probe_script(FRAGMENTS)).stdout)
    assert [answers[index].status for index in range(7)] == [0, 0, 3, 0, 0, 0, 0]
    assert answers[0].stdout == b"one\n"
    assert answers[0].stderr == b"wrong\n"
    assert answers[1].stdout == b"no newline at the end"
    assert answers[4].stdout == b"\0\xff\nprobes 0 0 0\n"
    assert answers[5].stdout == b"", "a probe has no input and cannot change the next one's variables"
    assert answers[6].stdout == b"unset p6\n" + bytes(300000)


def test_an_answer_that_is_cut_off_is_left_out(session: LocalSession) -> None:
    stdout = session.run(probe_script(FRAGMENTS[:6])).stdout
    whole = parse_probes(stdout)
    for end in range(len(stdout)):
        part = parse_probes(stdout[:end])
        assert all(whole[index] == answer for index, answer in part.items())
        assert len(part) < len(whole) or end >= len(stdout) - 1


def test_steps_stop_at_the_first_failure(session: LocalSession) -> None:
    changes = [Script("echo said\n"), Script("x=5\nfalse # reason\necho never\n"), Script("echo never\n")]
    result = session.run(change_script(changes, records("{1}", "{2}", "{3}"), [Script("echo read\n")]))
    steps = parse_steps(result.stdout)
    assert (steps.ok, steps.failed) == ((0,), (1, 1))
    assert parse_probes(result.stdout) == {}
    assert (session.root / "own/var/lib/provision/journal").read_text() == "{1}\n"
    assert split_trace(result.stderr) == ("false", "")


def test_an_unset_variable_is_a_failure(session: LocalSession) -> None:
    result = session.run(change_script([Script('echo "$nothing"\n')], records("{}"), []))
    assert parse_steps(result.stdout).failed is not None


def test_what_changes_print_is_no_protocol(session: LocalSession) -> None:
    """Output that looks like the protocol, and a stream that is read by the change that it is meant for."""
    changes = [
        Script("echo ok 1; echo fail 0 1; echo 'probes 0 0 0'\n"),
        Script("cat <&3 >got; printf 'stream' | cmp - got\n", {}, (Blob.of(b"stream"),)),
    ]
    result = session.run(change_script(changes, records("{}", "it's {} %s \\n"), [Script("echo read\n")]))
    assert parse_steps(result.stdout).ok == (0, 1)
    assert parse_probes(result.stdout)[0].stdout == b"read\n"
    assert "it's {} %s \\n\n" in (session.root / "own/var/lib/provision/journal").read_text()


def test_two_streams_are_read_one_after_the_other(session: LocalSession) -> None:
    blobs = [Blob.of(b"1" * 3_000_001), Blob.of(b""), Blob.of(b"3" * 70_000)]
    changes = [
        Script(f'receive {blob.size} {blob.sha256} "$W/got"\nwc -c <"$W/got"\n', {}, (blob,))
        for blob in blobs
    ]
    result = session.run(change_script(changes, records("{}", "{}", "{}"), []))
    assert parse_steps(result.stdout).ok == (0, 1, 2)


STEPS = b"begin 0\nok 0\nwaiting\nbegin 11\nok 11\nbegin 12\nfail 12 137\n"


@pytest.mark.parametrize("end", range(len(STEPS) + 1))
def test_steps_that_are_cut_off(end: int) -> None:
    steps = parse_steps(STEPS[:end])
    assert steps.ok == tuple(index for index, at in ((0, 13), (11, 36)) if end >= at)
    assert steps.failed == ((12, 137) if end == len(STEPS) else None)


TRACES = [
    ("@@ mkdir a\n@@ false\n", "false", ""),
    ("@@ a\nsaid this\n@@@ b c\nand that\n", "b c", "said this\nand that"),
    ("no trace\n", "", "no trace"),
    ("@@no blank\n", "", "@@no blank"),
    ("", "", ""),
    ("\udcff@@ a", "", "\ufffd@@ a"),
]


@pytest.mark.parametrize(("stderr", "line", "rest"), TRACES)
def test_the_last_line_of_a_trace(stderr: str, line: str, rest: str) -> None:
    assert split_trace(stderr.encode(errors="surrogateescape")) == (line, rest)


WORDS = [
    "",
    "a b",
    "it's",
    '"',
    "$HOME `x` \\",
    "-n",
    "*?[a]",
    "größe",
    "a\nb",
    "!",
    "~",
    "#",
    "a=b;c&d|e<f>",
]


@pytest.mark.parametrize("shell", SHELLS)
def test_words_reach_a_program_as_they_are(shell: str) -> None:
    argv = [*(["busybox", "sh"] if shell == "busybox" else [shell]), "-c", f"printf '%s\\0' {words(WORDS)}"]
    assert subprocess.run(argv, capture_output=True, check=True).stdout.decode().split("\0")[:-1] == WORDS
    assert quote(5) == "5"


NAMES = ["a", "b", "k", "-", "!", "a b", "it's", "$x", "[", "]", "*", "z.conf", "é"]
PATTERNS = {
    "*": NAMES,
    "?": ["!", "*", "-", "[", "]", "a", "b", "k"],
    "[a-k]": ["a", "b", "k"],
    "[!a-k]": ["!", "*", "-", "[", "]"],
    "[ka]": ["a", "k"],
    "[!!]": ["*", "-", "[", "]", "a", "b", "k"],
    "*.conf": ["z.conf"],
    "a *": ["a b"],
    "it'*": ["it's"],
    "$*": ["$x"],
    "[": ["["],
    "[*": ["["],
    "z.c[o]nf": ["z.conf"],
    "no such": [],
}


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_find_what_they_say(pattern: str, shell: str, tmp_path: Path) -> None:
    for name in NAMES:
        (tmp_path / name).touch()
    loop = f'for f in {glob_word(f"{tmp_path}/{pattern}")}; do [ ! -e "$f" ] || printf "%s\\n" "${{f##*/}}"; done'
    argv = [*(["busybox", "sh"] if shell == "busybox" else [shell]), "-c", loop]
    done = subprocess.run(argv, capture_output=True, check=True, env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"})
    assert sorted(done.stdout.decode().split("\n")[:-1]) == sorted(PATTERNS[pattern])


@pytest.mark.parametrize("fails", [True, False])
def test_an_original_that_cannot_be_put_back_leaves_nothing_half_written(
    session: LocalSession, fails: bool
) -> None:
    (session.root / "etc").mkdir()
    path = session.root / "etc" / "x.conf"
    path.write_text("ours")
    kept = f"/var/lib/provision/displaced{path}"
    full = 'cp() { echo half >"$4"; return 1; }\n' if fails else ""
    given = f"mkdir -p {kept.rpartition('/')[0]}; [ -e {kept} ] || echo theirs >{kept}\n"
    script = change_script([Script(f"{given}{full}put_back {path}\n")], records("{}"), [])
    steps = parse_steps(session.run(script).stdout)
    assert (steps.failed is not None) is fails
    assert path.read_text() == ("ours" if fails else "theirs\n")
    assert [each.name for each in path.parent.iterdir()] == ["x.conf"]
