"""The client of a fail-over test before a real server with TLS; a socket stands for a channel, as which it behaves."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import cast

import paramiko
import pytest

from provisioner.errors import ProvisionError
from provisioner.failover import client as clients
from provisioner.failover.client import Client, _fault
from provisioner.failover.samples import longest_gap
from provisioner.failover.wire import Wire
from provisioner.pki.authority import KeyPair, Leaf, issue, new_authority

AUTHORITY = new_authority("test")


class Server(ThreadingHTTPServer):
    """Answers as `status` says, with a body of `size` bytes; `away` refuses and breaks all connections, `hung` answers
    nobody."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, pair: KeyPair, folder: Path) -> None:
        self.status, self.size, self.hung, self.away = 200, 2, Event(), Event()
        (folder / "pair").write_text(pair.cert + pair.key.reveal())
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(folder / "pair")
        self.connections = 0
        super().__init__(("127.0.0.1", 0), Handler)

    def finish_request(self, request: object, address: object) -> None:
        self.connections += 1
        if not self.away.is_set():
            with self.context.wrap_socket(cast(socket.socket, request), server_side=True) as tls:
                super().finish_request(tls, address)

    def handle_error(self, request: object, address: object) -> None:
        """Who hangs up is no news."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        if self.server.away.is_set():
            self.close_connection = True
            return
        while self.server.hung.is_set():
            time.sleep(0.01)
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(self.server.size))
        self.end_headers()
        for _ in range(self.server.size):
            self.wfile.write(b"x")

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        """Quiet."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    leaf = Leaf(common_name="s", sans=("127.0.0.1",), usages=("server",))
    with Server(issue(AUTHORITY, leaf), tmp_path) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.hung.clear()
        server.shutdown()


def wire(server: Server, until: float, authority: KeyPair = AUTHORITY) -> Wire:
    channel = socket.create_connection(("127.0.0.1", server.server_port), timeout=20)
    context = ssl.create_default_context(cadata=authority.cert)
    return Wire(cast(paramiko.Channel, channel), context, "127.0.0.1", until)


def test_answers_one_after_the_other_on_one_connection(server: Server) -> None:
    server.size = 400  # byte by byte, each a TLS record of its own
    late = time.monotonic() + 60
    asked = wire(server, late)
    assert [asked.ask("/readyz", late)[0] for _ in range(3)] == [200] * 3
    server.status = 500
    assert asked.ask("/readyz", late)[0] == 500
    asked.close()
    assert server.connections == 1


def test_a_server_of_another_authority_is_none(server: Server) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        wire(server, time.monotonic() + 60, new_authority("other"))


def test_a_server_that_hangs_is_left_in_time(server: Server) -> None:
    asked = wire(server, time.monotonic() + 60)
    server.hung.set()
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        asked.ask("/readyz", began + 0.2)
    assert 0.15 < time.monotonic() - began < 20
    asked.close()


def test_an_outage_is_counted_on_new_and_kept_connections_apart(server: Server) -> None:
    with Client(lambda until: wire(server, until)) as client:
        assert client.await_good(5, time.monotonic(), 30)
        assert client.await_kept(time.monotonic(), 30)
        start = time.monotonic()
        server.away.set()
        time.sleep(0.5)
        server.away.clear()
        healed = time.monotonic()
        assert client.await_good(5, healed, 30)
        assert client.await_kept(healed, 30)
        end = time.monotonic()
        client.settle(end)
    since, to = longest_gap(client.answers, start, end)
    assert 0.4 < to - since < end - start
    failed = [each for each in client.answers if not each.well]
    assert 3 <= len(failed) < len(client.answers) - 5
    assert all(each.why for each in failed)
    assert [len(line.breaks) for line in client.lines] == [1] * len(client.lines)


def test_a_bad_status_is_a_failure_and_breaks_no_connection(server: Server) -> None:
    with Client(lambda until: wire(server, until)) as client:
        assert client.await_kept(time.monotonic(), 30)
        server.status = 503
        time.sleep(0.3)
    assert not client.answers[-1].well
    assert "503" in client.answers[-1].why
    assert not any(line.breaks for line in client.lines)


def test_what_hangs_is_waited_for_and_counts(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "PATIENCE", 0.4)
    with Client(lambda until: wire(server, until)) as client:
        assert client.await_good(3, time.monotonic(), 30)
        server.hung.set()
        time.sleep(0.2)
        end = time.monotonic()
        assert not client.await_good(1, end, 0.1)
        client.settle(end)
        assert any(not each.well and each.began < end for each in client.answers)
        server.hung.clear()


def test_a_host_that_forbids_connections_is_no_traceback() -> None:
    def forbidden(_until: float) -> Wire:
        raise ProvisionError("forbidden")

    with Client(forbidden) as client:
        assert not client.await_good(1, time.monotonic(), 0.3)
    assert {each.why for each in client.answers} == {"forbidden"}


def test_what_an_api_server_is_not_ready_for_is_named() -> None:
    text = "[+]ping ok\n[-]etcd failed: reason withheld\n[-]informer-sync failed: reason withheld\n"
    assert _fault((500, text)) == "the API server answered with status 500 (etcd, informer-sync)"
    assert _fault((401, "Unauthorized")) == "the API server answered with status 401"
    assert _fault((200, "ok")) == ""
