"""The frame runs for real, by the shells and tools that hosts have."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from provisioner.errors import ProvisionError
from provisioner.remote import frame, lock, sudo
from provisioner.shell.script import Blob, Script

MARK = secrets.token_hex(8)  # names a folder of the machine: two runs of the tests may be on it
SHELLS = {"dash": ["dash"], "busybox": ["busybox", "sh"], "bash": ["bash", "--posix"]}


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A shell for the frame itself; with busybox, its dd, tar, mkdir and rm too."""
    name: str = request.param
    if not shutil.which(SHELLS[name][0]):
        pytest.skip(f"{name} is not installed")
    if name == "busybox":
        for applet in ("dd", "tar", "mkdir", "rm"):
            (tmp_path / applet).symlink_to(shutil.which("busybox") or "")
        monkeypatch.setattr(frame, "BODY", frame.BODY.replace("PATH=/usr", f"PATH={tmp_path}:/usr"))
    return SHELLS[name]


def run(shell: list[str], script: Script, rest: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    head = frame.archive(script)
    argv = [*shell, "-c", frame.BODY, "provision", str(frame.records(len(head))), MARK]
    return subprocess.run(argv, input=head + rest, capture_output=True, timeout=20, check=False)


def test_members_stream_and_status(shell: list[str]) -> None:
    long = "deep/" * 30 + "name with spaces"
    binary = bytes(range(256)) * 100
    script = Script(
        'cat "$W/a/b"; sha256sum <"$W/$NAME" | cut -c1-64; cat <&3; cat; umask; exit 7'.replace(
            "$NAME", long
        ),
        {"a/b": Blob.of(b"member\n"), long: Blob.of(binary)},
    )
    done = run(shell, script, b"rest\0of it\n")
    digest = hashlib.sha256(binary).hexdigest().encode()
    assert done.stdout == MARK.encode() + b"\nmember\n" + digest + b"\nrest\0of it\n0022\n"
    assert (done.returncode, done.stderr) == (7, MARK.encode() + b"\n")


def test_who_yields_is_behind_all_else_with_what_it_starts(shell: list[str]) -> None:
    done = run(shell, frame.yielding(Script("nice; sh -c nice; exit 3")))
    behind = [int(each) for each in done.stdout.split()[1:]]
    assert len(behind) == 2
    assert all(each >= frame.NICENESS for each in behind), behind
    assert (done.returncode, done.stderr) == (3, MARK.encode() + b"\n")


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 10_240, 100_000])
def test_not_a_byte_of_what_follows_is_taken(shell: list[str], size: int) -> None:
    rest = os.urandom(300_000)
    done = run(shell, Script("sha256sum <&3", {"pad": Blob.of(b"x" * size)}), rest)
    assert hashlib.sha256(rest).hexdigest().encode() in done.stdout


def test_a_tar_with_nothing_behind_it_needs_no_count(shell: list[str]) -> None:
    head = frame.archive(Script('cat "$W/m" -; exit 3', {"m": Blob.of(b"x" * 50_000)}))
    argv = [*shell, "-c", frame.BODY, "provision", "0", MARK]
    done = subprocess.run(argv, input=head, capture_output=True, timeout=20, check=False)
    assert (done.returncode, done.stdout) == (3, MARK.encode() + b"\n" + b"x" * 50_000)


def test_two_streams_in_order(shell: list[str]) -> None:
    done = run(shell, Script("dd bs=1 count=5 <&3; echo; dd bs=1 count=3 <&3"), b"firsttwo")
    assert done.stdout.endswith(b"first\ntwo")


def test_the_folder_is_private_and_goes(shell: list[str]) -> None:
    done = run(shell, Script('stat -c "%a %n" "$W"; stat -c %a "$W/m"', {"m": Blob.of(b"")}))
    mode, folder, member = done.stdout.split()[1:4]
    assert (mode, member) == (b"700", b"600")
    assert not Path(folder.decode()).exists()


def test_a_cut_stream_runs_nothing(shell: list[str]) -> None:
    head = frame.archive(Script("echo ran"))
    argv = [*shell, "-c", frame.BODY, "provision", str(frame.records(len(head))), MARK]
    done = subprocess.run(argv, input=head[:100], capture_output=True, timeout=20, check=False)
    assert done.returncode == 98
    assert b"ran" not in done.stdout


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
def test_the_folder_goes_when_the_frame_is_told_to_end(shell: list[str], number: signal.Signals) -> None:
    head = frame.archive(Script('echo "$W"; cat <&3'))
    argv = [*shell, "-c", frame.BODY, "provision", str(frame.records(len(head))), MARK]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(head)
        process.stdin.flush()
        assert process.stdout.readline().strip() == MARK.encode()
        folder = Path(process.stdout.readline().strip().decode())
        assert folder.is_dir()
        process.send_signal(number)
        time.sleep(0.05)
        process.stdin.close()
        assert process.wait(10) == 128 + number
    assert not folder.exists()


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../x", "a/../../x", "main", ".tar"])
def test_names_that_cannot_be_members(name: str) -> None:
    with pytest.raises(ProvisionError):
        frame.archive(Script("", {name: Blob.of(b"")}))


def test_a_file_that_shrank_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "blob"
    path.write_bytes(b"12345")
    assert b"".join(frame.chunks(Blob("", 3, path=path))) == b"123"
    with pytest.raises(ProvisionError, match="shorter"):
        list(frame.chunks(Blob("", 6, path=path)))


def test_large_files_go_in_pieces(tmp_path: Path) -> None:
    path = tmp_path / "blob"
    with path.open("wb") as file:
        file.truncate(3_000_000)
    sizes = [len(chunk) for chunk in frame.chunks(Blob("", 3_000_000, path=path))]
    assert sum(sizes) == 3_000_000
    assert max(sizes) <= frame.CHUNK


@pytest.mark.parametrize(
    "command",
    [frame.command(1, MARK), sudo.command(sudo.Become("root", None), sudo.Mode.UNKNOWN, "word", 1, MARK)],
)
def test_the_command_is_safe_for_any_login_shell(command: str) -> None:
    quoted = re.findall(r"'([^']*)'", command)
    assert command.count("'") == 2 * len(quoted)
    assert all(not set("'!\\\n") & set(text) for text in quoted)
    assert re.fullmatch(r"[\w/ -]+", re.sub(r"'[^']*'", "", command))


@pytest.mark.parametrize(
    "text",
    [frame.BODY, *(mode.value for mode in sudo.Mode), lock.hold("name", 60)],
    ids=["frame", *(f"sudo {mode.name}" for mode in sudo.Mode), "lock"],
)
def test_shellcheck(text: str) -> None:
    if not shutil.which("shellcheck"):
        pytest.skip("shellcheck is not installed")
    # SC2064: the trap is meant to know its folder now. SC1091: the script that is sourced comes with the tar.
    # SC3040 and friends stay on: POSIX only.
    argv = ["shellcheck", "-s", "sh", "-e", "SC2064,SC1091", "-"]
    done = subprocess.run(argv, input=text + "\n", text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("user", ["", "a b", "-x", "$(id)", "root;id", "a'b"])
def test_become_user_is_a_name(user: str) -> None:
    with pytest.raises(ProvisionError):
        sudo.Become(user, None)
