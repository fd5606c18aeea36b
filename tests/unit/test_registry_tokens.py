"""Token services: the registry's own, whatever it calls it, and others. Over real TLS."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from registryfaults import ACCOUNT, busy, silence
from registryserver import HOST, Handler, Running, State, image, reached, serve

from provisioner.engine.events import silent
from provisioner.errors import ProvisionError, UnreachableError
from provisioner.registry import auth, transport
from provisioner.registry.server import RegistryServer
from provisioner.registry.tokenservice import service_of

pytest_plugins = ["registryfixtures"]
OURS = RegistryServer("reg.example.org", 443, b"ca", "192.0.2.1", auth.Credentials("me", "x"), 7.0)
WRONG = {"username": "me", "password": "wrong"}


@pytest.fixture
def elsewhere(server: Running, pair: tuple[Path, Path]) -> Iterator[Running]:
    """Another server, which issues the tokens of `server`."""
    with serve(*pair, State(issued=server.state.issued)) as running:
        server.state.tokens = True
        server.state.realm = f"https://127.0.0.1:{running.port}/token"
        yield running
    assert running.state.violations == []


@pytest.mark.parametrize(
    "realm",
    [
        "https://reg.example.org/service/token",
        "https://REG.example.org:443/service/token?a=b",
        "http://reg.example.org/service/token",
        "http://reg.example.org:8080/service/token",
    ],
)
def test_the_registrys_own_host(realm: str) -> None:
    assert service_of(realm, OURS) is OURS


def test_another_service_has_our_trust_and_patience_only() -> None:
    found = service_of("https://auth.example.org/token", OURS)
    assert found == RegistryServer("auth.example.org", 443, b"ca", None, None, 7.0)
    found = service_of("https://reg.example.org:5001/token", OURS)
    assert found == RegistryServer("reg.example.org", 5001, b"ca", "192.0.2.1", None, 7.0)
    assert service_of("https://[FD00::1]:5000/t", reached(5000, host="fd00::1")).address == "127.0.0.1"


@pytest.mark.parametrize(
    "realm",
    [
        "http://auth.example.org/t",
        "ftp://reg.example.org/t",
        "/t",
        "https://[",
        "https://a b/",
        "https://a:b/",
    ],
)
def test_no_service(realm: str) -> None:
    with pytest.raises(ProvisionError, match="the registry sends us to") as caught:
        service_of(f"{realm}?scope=s", OURS)
    assert "external_url" in caught.value.hint
    assert ("without TLS" in caught.value.reason) == ("auth" in realm)


@pytest.mark.parametrize(
    "realm", [f"http://{HOST}/token", f"http://{HOST}:80/token", "https://REGISTRY.example:{port}/token"]
)
def test_tokens_come_over_our_own_connection(server: Running, tmp_path: Path, realm: str) -> None:
    server.state.tokens = True
    server.state.realm = realm.format(port=server.port)
    with server.client(**ACCOUNT) as registry:
        registry.push(image(tmp_path, b"one"), "a/b", "v1", silent)
    assert len(server.state.issued) == 1


@pytest.mark.parametrize(
    ("account", "reason"), [(WRONG, "wrong user or password"), ({}, "without an account")]
)
def test_a_token_service_is_not_asked_with_a_token(
    server: Running, account: dict[str, str], reason: str
) -> None:
    def challenge(handler: Handler) -> bool:
        if not handler.path.startswith("/token"):
            return False
        handler.answer(401, WWW_Authenticate=f'Bearer realm="https://{handler.headers["Host"]}/token"')
        return True

    server.state.tokens = True
    server.state.faults += [challenge] * 3
    with server.client(**account) as registry, pytest.raises(ProvisionError, match=f"{reason}.*401"):
        registry.ping()
    assert len(server.asked("GET", "/token")) == 1


def test_an_old_token_without_a_scope_is_replaced(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "_USABLE", 0.0)
    server.state.tokens = True
    with server.client(**ACCOUNT) as registry:
        registry.ping()
        registry.ping()
    assert server.asked("GET")[:3] == ["/v2/", "/token?service=s", "/token?service=s"]


@pytest.mark.parametrize(
    "answer",
    [
        '{"token": "a\\nb"}',
        '{"token": "é"}',
        '{"token": ""}',
        "[]",
        "x",
        "[" * 100_000,
        f'{{"token": "a", "expires_in": 1{"0" * 400}}}',
    ],
    ids=range(7),
)
def test_what_is_no_token(server: Running, answer: str) -> None:
    def issue(handler: Handler) -> bool:
        if handler.path.startswith("/token"):
            handler.answer(200, answer.encode())
            return True
        return False

    server.state.tokens = True
    server.state.faults.append(issue)
    with server.client(**ACCOUNT) as registry, pytest.raises(ProvisionError, match="issued no token"):
        registry.ping()


def test_a_service_without_a_path(server: Running, elsewhere: Running) -> None:
    def issue(handler: Handler) -> bool:
        handler.answer(200, b'{"token": "x"}')
        return True

    server.state.realm = f"https://127.0.0.1:{elsewhere.port}"
    server.state.issued["x"] = []
    elsewhere.state.faults.append(issue)
    with server.client(**ACCOUNT) as registry:
        registry.ping()
    assert elsewhere.asked("GET") == ["/?service=s"]


def test_a_busy_service_elsewhere_is_asked_again(server: Running, elsewhere: Running) -> None:
    elsewhere.state.faults += [busy(503), busy(500), busy(429, Retry_After="1")]
    began = time.monotonic()
    with server.client(**ACCOUNT) as registry:
        registry.ping()
    assert 1 <= time.monotonic() - began < transport._LONGEST_DELAY_SECONDS
    assert len(elsewhere.state.requests) == 4


def test_a_service_elsewhere_that_stays_busy_is_given_up(
    server: Running, elsewhere: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "_LONGEST_DELAY_SECONDS", 0.01)
    elsewhere.state.faults += [busy(503, Retry_After="60")] * 20
    began = time.monotonic()
    with server.client(**ACCOUNT) as registry, pytest.raises(UnreachableError, match="503") as caught:
        registry.ping()
    assert time.monotonic() - began < 60, "as long as the service wants"
    assert len(elsewhere.state.requests) == transport.ATTEMPTS
    assert "password" not in caught.value.hint


def test_a_service_elsewhere_that_is_silent_is_asked_again(server: Running, elsewhere: Running) -> None:
    elsewhere.state.faults.append(silence("GET", "/token", 30.0))
    began = time.monotonic()
    with server.client(stall_seconds=0.3, **ACCOUNT) as registry:
        registry.ping()
    assert time.monotonic() - began < 30, "as long as it is silent"
    assert len(elsewhere.state.requests) == 2


def test_an_answer_from_elsewhere_is_bounded(
    server: Running, elsewhere: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "_LARGEST_ANSWER", 1000)

    def large(handler: Handler) -> bool:
        handler.answer(200, json.dumps({"token": "x", "more": "x" * 1000}).encode())
        return True

    elsewhere.state.faults += [large] * transport.ATTEMPTS
    with server.client(**ACCOUNT) as registry, pytest.raises(UnreachableError, match="does not end"):
        registry.ping()


@pytest.mark.parametrize(
    ("status", "hint"), [(401, "another user or password"), (403, "allowed"), (404, "auth.token.realm")]
)
def test_a_service_elsewhere_that_refuses(
    server: Running, elsewhere: Running, status: int, hint: str
) -> None:
    elsewhere.state.faults.append(busy(status))
    with server.client(**ACCOUNT) as registry, pytest.raises(ProvisionError, match=str(status)) as caught:
        registry.ping()
    assert hint in caught.value.hint
    assert len(elsewhere.state.requests) == 1
