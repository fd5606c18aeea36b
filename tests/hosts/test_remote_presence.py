"""Who counts as there while a gate waits: whoever answers, if with a refusal or on a new connection."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest
from sshd import serve
from test_remote_pool import pool

from provisioner.action.presence import Presence
from provisioner.errors import UnreachableError
from provisioner.shell.script import Script


def test_a_host_that_opens_no_further_session_is_there(tmp_path: Path) -> None:
    with serve(tmp_path, extra=["MaxSessions 1"]) as server, pool(server, "worker1") as opened:
        busy = opened.session("worker1")
        worker = threading.Thread(target=busy.run, args=(Script("sleep 4"),))
        worker.start()
        time.sleep(0.5)  # the one session is taken
        Presence(opened, ["worker1"]).check()
        assert worker.is_alive(), "it was not refused"
        worker.join()


def test_a_broken_connection_is_made_anew_and_a_host_that_cannot_be_is_gone(tmp_path: Path) -> None:
    with serve(tmp_path) as server, pool(server, "worker1") as opened:
        presence = Presence(opened, ["worker1"])
        presence.check()
        for pid in server.connections():
            os.kill(pid, signal.SIGKILL)
        opened.session("worker1")._transport.join(5)
        presence.check()
        for pid in (server.pid, *server.connections()):
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(UnreachableError, match=r"^worker1: "):
            presence.check()
