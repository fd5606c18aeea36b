"""Scripts over a real sshd: status, outputs, streams, deadlines and every way in which a connection ends."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sshd import Sshd, serve

from provisioner.errors import ProvisionError, UnreachableError
from provisioner.remote.dial import Timeouts
from provisioner.remote.route import UserConfig
from provisioner.remote.session import DeadlineError, LostError, Session, connect
from provisioner.shell.script import Blob, Script

MB = 1_000_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with serve(tmp_path_factory.mktemp("sshd")) as running:
        yield running


def open_session(server: Sshd, timeouts: Timeouts | None = None) -> Session:
    return connect(
        "node1",
        server.connection(),
        known_hosts=server.known_hosts,
        config=UserConfig(None),
        timeouts=timeouts,
    )


@pytest.fixture
def session(server: Sshd) -> Iterator[Session]:
    with open_session(server) as opened:
        yield opened


@pytest.fixture
def blob(tmp_path: Path) -> Blob:
    """64 MB of which no two packets are alike."""
    path, digest = tmp_path / "blob", hashlib.sha256()
    with path.open("wb") as file:
        for _ in range(64):
            piece = os.urandom(MB)
            digest.update(piece)
            file.write(piece)
    return Blob(digest.hexdigest(), 64 * MB, path=path)


@pytest.mark.parametrize("status", [0, 1, 75, 255])
def test_status_and_outputs(session: Session, status: int) -> None:
    result = session.run(Script(f"echo out; echo err >&2; exit {status}"))
    assert (result.status, result.stdout, result.stderr) == (status, b"out\n", b"err\n")
    assert session.execs == 1


def test_five_megabytes_on_both_outputs_while_a_stream_waits(session: Session) -> None:
    script = Script(
        "head -c 5000000 /dev/zero; head -c 5000000 /dev/zero >&2; sha256sum <&3 | cut -c1-64",
        streams=(Blob.of(b"x" * 5 * MB),),
    )
    result = session.run(script, deadline=30)
    assert result.stderr == bytes(5 * MB)
    assert result.stdout == bytes(5 * MB) + hashlib.sha256(b"x" * 5 * MB).hexdigest().encode() + b"\n"


def test_binary_goes_and_comes_unchanged(session: Session) -> None:
    data = bytes(range(256)) * 64
    result = session.run(Script('cat "$W/m"; cat <&3', {"m": Blob.of(data)}, (Blob.of(data),)))
    assert result.stdout == data * 2


def test_large_streams_arrive_whole_and_in_order(session: Session, blob: Blob) -> None:
    script = Script(
        f"dd bs=1M count={blob.size} iflag=fullblock,count_bytes <&3 2>/dev/null | sha256sum; cat <&3",
        streams=(blob, Blob.of(b"the second")),
    )
    result = session.run(script, deadline=60)
    assert result.stdout.decode() == f"{blob.sha256}  -\nthe second"


@pytest.mark.parametrize("size", [1000, 64 * MB])
def test_a_script_may_end_without_reading(session: Session, tmp_path: Path, size: int) -> None:
    path = tmp_path / "unread"
    with path.open("wb") as file:
        file.truncate(size)
    started = time.monotonic()
    result = session.run(Script("echo no >&2; exit 9", streams=(Blob("", size, path=path),)), deadline=30)
    assert (result.status, result.stderr) == (9, b"no\n")
    assert time.monotonic() - started < 20
    assert session.run(Script("echo next")).stdout == b"next\n"


def test_output_comes_while_the_script_runs(session: Session) -> None:
    times: list[float] = []
    seen = bytearray()

    def note(data: bytes) -> None:
        times.append(time.monotonic())
        seen.extend(data)

    result = session.run(Script("echo 1; sleep 0.3; echo 2"), on_stdout=note)
    assert (bytes(seen), result.stdout) == (b"1\n2\n", b"")
    assert times[-1] - times[0] > 0.2


def test_a_daemon_that_keeps_the_outputs_does_not_hold_the_run(session: Session) -> None:
    started = time.monotonic()
    result = session.run(Script("sleep 30 & echo $!"))
    os.kill(int(result.stdout), signal.SIGTERM)
    assert time.monotonic() - started < 20


def test_deadline(session: Session) -> None:
    with pytest.raises(
        DeadlineError, match=r"node1: the nap did not end within 0\.5 s; its last words: tired"
    ):
        session.run(Script("echo tired >&2; sleep 2"), deadline=0.5, what="the nap")
    assert session.run(Script("echo on")).stdout == b"on\n"


def test_deadline_while_a_stream_is_not_taken(server: Sshd, blob: Blob) -> None:
    with open_session(server) as session:
        started = time.monotonic()
        with pytest.raises(DeadlineError):
            session.run(Script("sleep 30", streams=(blob,)), deadline=0.5)
        assert time.monotonic() - started < 20


def test_a_file_that_shrinks_while_it_is_sent_stops_the_script(session: Session, tmp_path: Path) -> None:
    path = tmp_path / "short"
    path.write_bytes(b"x" * 5 * MB)
    with pytest.raises(ProvisionError, match="shorter"):
        session.run(Script("cat <&3 >/dev/null; echo whole", streams=(Blob("", 6 * MB, path=path),)))


def test_no_blob_at_all_is_said(session: Session, tmp_path: Path) -> None:
    with pytest.raises(ProvisionError, match="none"):
        session.run(Script("cat <&3", streams=(Blob("", 10, path=tmp_path / "none"),)))


def test_more_scripts_than_channels_wait_their_turn(session: Session) -> None:
    with ThreadPoolExecutor(20) as threads:
        outputs = list(threads.map(lambda n: session.run(Script(f"echo {n}")).stdout, range(20)))
    assert outputs == [f"{n}\n".encode() for n in range(20)]
    assert session.execs == 20


def test_a_server_that_allows_one_session_at_a_time(tmp_path: Path) -> None:
    with serve(tmp_path, extra=("MaxSessions 1",)) as narrow, open_session(narrow) as session:
        outputs = [session.run(Script(f"echo {n}")).stdout for n in range(10)]
        with ThreadPoolExecutor(3) as threads:
            outputs += threads.map(
                lambda n: session.run(Script(f"sleep 0.2; echo {n}")).stdout, range(10, 13)
            )
        with ThreadPoolExecutor(1) as threads:
            long = threads.submit(session.run, Script("sleep 3"))
            time.sleep(0.3)
            with pytest.raises(UnreachableError, match="opens no further session") as caught:
                session.run(Script("true"))
            assert "MaxSessions" in caught.value.hint
            assert long.result().status == 0
    assert outputs == [f"{n}\n".encode() for n in range(13)]


def test_a_broken_connection_is_lost_not_failed(server: Sshd) -> None:
    with open_session(server) as session:
        threading.Timer(0.3, signal_all, (server.connections(), signal.SIGKILL)).start()
        with pytest.raises(LostError, match=r"node1: .*while running the wait; its last words: here"):
            session.run(Script("echo here >&2; sleep 2"), what="the wait")
        assert not session.alive
        with pytest.raises(UnreachableError, match="node1"):
            session.run(Script("true"))


def test_a_peer_that_hangs_is_noticed(server: Sshd) -> None:
    with open_session(server, Timeouts(silence=1.5)) as session:
        assert session.run(Script("sleep 3; echo patient")).stdout == b"patient\n"
        stopped = server.connections()
        threading.Timer(0.2, signal_all, (stopped, signal.SIGSTOP)).start()
        started = time.monotonic()
        with pytest.raises(LostError, match="no sign of life"):
            session.run(Script("sleep 2"), deadline=30)
        assert time.monotonic() - started < 20
        signal_all(stopped, signal.SIGCONT)


def test_a_killed_shell_is_not_a_status(session: Session) -> None:
    with pytest.raises(LostError, match="killed or refused"):
        session.run(Script('rm -r "$W"; kill -9 $$'))
    assert session.run(Script("echo on")).stdout == b"on\n"


def test_the_frame_leaves_nothing(session: Session) -> None:
    folder = session.run(Script('echo "$W"')).stdout.decode().strip()
    assert folder.startswith("/run/provision.")
    assert not Path(folder).exists()


def signal_all(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
