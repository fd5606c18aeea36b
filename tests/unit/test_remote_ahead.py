"""Connections that are begun before anybody needs them."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest

from provisioner.remote.ahead import Ahead
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


def hop_to(server: socket.socket) -> Hop:
    return replace(HOP, port=server.getsockname()[1])


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
