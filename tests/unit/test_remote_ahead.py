"""Connections that are begun before anybody needs them."""

from __future__ import annotations

import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest

from provisioner.remote.ahead import Ahead, connect
from provisioner.remote.route import Hop

HOP = Hop("127.0.0.1", 0, "root", (), False, None, "127.0.0.1", True, 5.0)


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(5)
        yield listening


@pytest.fixture
def ahead() -> Iterator[Ahead]:
    begun = Ahead()
    yield begun
    begun.close()


def hop_to_port(port: int) -> Hop:
    return replace(HOP, port=port)


def hop_to(server: socket.socket) -> Hop:
    return hop_to_port(server.getsockname()[1])


def test_what_was_begun_is_taken_once(server: socket.socket, ahead: Ahead) -> None:
    hop = hop_to(server)
    ahead.begin([hop, hop])
    accepted, _ = server.accept()
    with accepted:
        accepted.sendall(b"SSH")
        wire = ahead.take(hop)
        assert wire is not None
        with wire:
            assert wire.recv(3) == b"SSH"
    assert ahead.take(hop) is None
    server.setblocking(False)
    with pytest.raises(BlockingIOError):  # a second connection would be one too many for a narrow sshd
        server.accept()


def test_a_refusal_is_told_to_who_takes_it(server: socket.socket, ahead: Ahead) -> None:
    hop = hop_to(server)
    server.close()
    ahead.begin([hop])
    with pytest.raises(ConnectionRefusedError, match="refused"):
        ahead.take(hop)


def test_names_and_proxies_are_left_to_who_needs_them(server: socket.socket, ahead: Ahead) -> None:
    named, proxied = replace(hop_to(server), address="localhost"), replace(hop_to(server), proxy_command="nc")
    ahead.begin([named, proxied])
    assert ahead.take(named) is None
    assert ahead.take(proxied) is None


def test_what_nobody_takes_is_closed(server: socket.socket, ahead: Ahead) -> None:
    ahead.begin([hop_to(server)])
    accepted, _ = server.accept()
    with accepted:
        ahead.close()
        assert accepted.recv(1) == b""


def test_a_connection_of_ones_own_beyond_a_thousand_files(server: socket.socket) -> None:
    """As a run over hundreds of hosts has them; select() would know none of these descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as stack:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        held = [stack.enter_context(socket.socket()) for _ in range(1024)]
        assert held[-1].fileno() > 1023
        with connect(hop_to(server)) as wire:
            assert wire.gettimeout() == HOP.timeout
    server.close()
    with pytest.raises(ConnectionRefusedError):
        connect(hop_to_port(1))
