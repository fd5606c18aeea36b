"""Puts fragments together into one script: a probe (reads), or an apply (changes, then reads again).

Protocol on stdout, line by line: `begin I`, `ok I`, `fail I STATUS` for changes, then one line `probes` with three
numbers for each probe fragment, STATUS SIZE ERRSIZE, and behind it, in the same order, exactly SIZE bytes of each one's
output and ERRSIZE bytes of its stderr.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from provisioner.shell.quote import words
from provisioner.shell.script import Blob, Script
from provisioner.shell.worklock import TAKE_TELLING

TRACE = "@@ "
"""Prefix of sh's trace lines on stderr: the last one names the line that failed."""


@cache
def prelude() -> str:
    """The functions that every changing fragment may call."""
    return _shipped("prelude.sh")


@cache
def refusing_chains() -> str:
    """The function `refuses FAMILY TABLE CHAIN` for scripts that read a firewall of nftables."""
    return _shipped("chains.sh")


def _shipped(name: str) -> str:
    return resources.files("provisioner.shell").joinpath(name).read_text(encoding="utf-8")


@dataclass(frozen=True)
class ProbeAnswer:
    """What one probe fragment printed, and how it ended."""

    status: int
    stdout: bytes
    stderr: bytes


@dataclass(frozen=True)
class StepOutcome:
    """How far the changes of a script came: `ok` indexes, and the failed one with its exit status."""

    ok: tuple[int, ...]
    failed: tuple[int, int] | None


# Programs are what a probe costs, a millisecond each: a subshell and not a shell of its own for a fragment, one stat
# and one cat for all of them. Side by side, because some wait: kubectl for its API server, 1.0 -> 0.6 s on a control
# plane.
_RUN_PROBES = """
running=
outputs=
probe() {
  P="$W/p$1"
  export P
  # shellcheck disable=SC1091
  (. "$P/run") >"$P.out" 2>"$P.err" </dev/null 3<&- &
  running="$running $!"
  outputs="$outputs $P.out $P.err"
}
answer() {
  line=probes
  statuses=
  for p in $running; do
    wait "$p" && s=0 || s=$?
    statuses="$statuses $s"
  done
  # shellcheck disable=SC2086
  stat -c %s -- $outputs >"$W/sizes"
  for s in $statuses; do
    read -r o
    read -r e
    line="$line $s $o $e"
  done <"$W/sizes"
  echo "$line"
  # shellcheck disable=SC2086
  cat -- $outputs
}
"""

_RUN_CHANGES = """
LC_ALL=C
export LC_ALL
"""
_STEP = """
# owned LINE: begins on a line of its own, because the one before may have been cut off.
owned() { [ -z "$1" ] || (umask 077 && printf '\\n%s\\n' "$1" >>/var/lib/provision/owned); }
step() {
  echo "begin $1"
  P="$W/c$1"
  export P
  # What cannot be written down is not done: nobody would know of it.
  owned "$3" || { echo "fail $1 73"; exit 99; }
  /bin/sh -eu "$P/run" >"$W/out" 2>"$W/err" </dev/null 8>&- && s=0 || s=$?
  echo "$W $1" >/var/lib/provision/last-change
  if [ "$s" -ne 0 ]; then
    echo "fail $1 $s"
    # The line that failed stands before all that it said. Errors last, because people see the end.
    grep '^@@* ' "$W/err" | tail -n 1 | cut -c 1-1024 >&2
    [ ! -s "$W/out" ] || { tail -c 4096 "$W/out"; echo; } >&2
    tail -c 16384 "$W/err" >&2
    exit 99
  fi
  printf '%s\\n' "$2" >>/var/lib/provision/journal
  owned "$4" || { echo "fail $1 73"; exit 99; }
  echo "ok $1"
}
"""


def probe_script(fragments: Sequence[Script]) -> Script:
    """One script that runs all `fragments`, each in a shell of its own; a failing one does not stop the others."""
    return Script(_RUN_PROBES + "\n".join(_calls(fragments)) + "\n", _payload("p", fragments, ""))


@dataclass(frozen=True)
class StepRecord:
    """What is written down about a change: a line of the host's journal once it is done, and lines of what the host
    remembers to be ours before and after it ("" for none)."""

    journal: str
    before: str = ""
    after: str = ""


def change_script(
    changes: Sequence[Script], records: Sequence[StepRecord], probes: Sequence[Script]
) -> Script:
    """Runs `changes` in order, with a record of each, and stops at the first that fails; then the `probes`."""
    lines = [_RUN_CHANGES, TAKE_TELLING, _STEP, _RUN_PROBES]
    lines += [
        f"step {index} {words((each.journal, each.before, each.after))}" for index, each in enumerate(records)
    ]
    lines += _calls(probes)
    payload = _payload("c", changes, f"PS4='{TRACE}'\n. \"$W/prelude\"\nset -x\n") | _payload("p", probes, "")
    payload["prelude"] = Blob.of(prelude().encode())
    streams = tuple(blob for change in changes for blob in change.streams)
    return Script("\n".join(lines) + "\n", payload, streams)


def _calls(fragments: Sequence[Script]) -> list[str]:
    return [*(f"probe {index}" for index in range(len(fragments))), *(["answer"] if fragments else [])]


def _payload(letter: str, fragments: Sequence[Script], head: str) -> dict[str, Blob]:
    members: dict[str, Blob] = {}
    for index, fragment in enumerate(fragments):
        secret = any(blob.secret for blob in fragment.payload.values())
        members[f"{letter}{index}/run"] = Blob.of((head + fragment.main).encode(), secret=secret)
        for name, blob in fragment.payload.items():
            members[f"{letter}{index}/{name}"] = blob
    return members


_OK_LINE = re.compile(rb"ok (\d+)")
_FAIL_LINE = re.compile(rb"fail (\d+) (\d+)")
_PROBES_LINE = re.compile(rb"^probes((?: \d+ \d+ \d+)+)\n", re.MULTILINE)


def parse_probes(stdout: bytes) -> dict[int, ProbeAnswer]:
    """The answers by index; an answer that was cut off is left out."""
    answers: dict[int, ProbeAnswer] = {}
    match = _PROBES_LINE.search(stdout)
    if match is None:
        return answers
    numbers = [int(word) for word in match.group(1).split()]
    at = match.end()
    for index, (status, size, errors) in enumerate(zip(*[iter(numbers)] * 3, strict=True)):
        end = at + size + errors
        if end > len(stdout):
            break
        answers[index] = ProbeAnswer(status, stdout[at : at + size], stdout[at + size : end])
        at = end
    return answers


def parse_steps(stdout: bytes) -> StepOutcome:
    """How far the changes came, from the lines before the first probe; a line that was cut off does not count."""
    done: list[int] = []
    failed: tuple[int, int] | None = None
    for line in stdout.split(b"\n")[:-1]:
        if line.startswith(b"probes "):
            break
        if match := _OK_LINE.fullmatch(line):
            done.append(int(match[1]))
        elif match := _FAIL_LINE.fullmatch(line):
            failed = (int(match[1]), int(match[2]))
    return StepOutcome(tuple(done), failed)


def split_trace(stderr: bytes) -> tuple[str, str]:
    """(the last traced script line, stderr without the trace)."""
    last = ""
    rest: list[str] = []
    for line in stderr.decode(errors="replace").splitlines():
        stripped = line.lstrip("@")
        if line.startswith("@@") and stripped.startswith(" "):
            last = stripped.strip()
        else:
            rest.append(line)
    return last, "\n".join(rest)
