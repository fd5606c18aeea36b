"""Accounts and tokens of a registry, also those that expire in mid-upload. Over real TLS."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from email.utils import formatdate
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from registryfaults import ACCOUNT, CONTENT
from registryserver import Handler, Running, image, reached

from provisioner.engine.events import silent
from provisioner.errors import ProvisionError
from provisioner.registry import auth, refusals
from provisioner.registry.challenge import Challenge
from provisioner.registry.tokenservice import service_of

pytest_plugins = ["registryfixtures"]


def test_tokens(server: Running, tmp_path: Path) -> None:
    server.state.tokens = True
    with server.client(**ACCOUNT) as registry:
        registry.push(image(tmp_path, b"one"), "a/b", "v1", silent)
    assert list(server.state.issued.values()) == [["repository:a/b:pull,push"]]
    wrong = server.client(username="me", password="wrong")  # noqa: S106
    with wrong as registry, pytest.raises(ProvisionError, match="401") as caught:
        registry.ping()
    assert "another user or password" in caught.value.hint


@pytest.mark.usefixtures("chunked")
@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_token_that_expires_in_mid_upload_is_replaced(server: Running, tmp_path: Path, nth: int) -> None:
    server.state.tokens = True
    left = [nth]

    def expire(handler: Handler) -> bool:
        left[0] -= handler.command == "PATCH"
        if not left[0]:
            server.state.expired |= set(server.state.issued)
            server.state.faults.clear()
        return False

    server.state.faults.append(expire)
    with server.client(**ACCOUNT) as registry:
        registry.push(image(tmp_path, CONTENT), "a/b", "v1", silent)
    assert server.state.contents == {CONTENT}
    assert len(server.state.issued) == 2
    assert len(server.asked("POST")) == 1, "the upload goes on"


@pytest.mark.usefixtures("chunked")
def test_a_token_is_replaced_before_it_is_refused(
    server: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auth, "_USABLE", 0.0)
    server.state.tokens = True
    statuses: list[int] = []
    plain = Handler.send_response

    def noted(handler: Handler, status: int, message: str | None = None) -> None:
        statuses.append(status)
        plain(handler, status, message)

    monkeypatch.setattr(Handler, "send_response", noted)
    with server.client(**ACCOUNT) as registry:
        registry.push(image(tmp_path, CONTENT), "a/b", "v1", silent)
    assert statuses.count(401) == 1
    assert len(server.state.issued) > 5


def test_a_fresh_token_that_is_refused_may_be_a_matter_of_clocks(server: Running) -> None:
    server.state.tokens = True
    server.state.expired |= {"t0", "t1"}
    with server.client(**ACCOUNT) as registry, pytest.raises(ProvisionError, match="401") as caught:
        registry.ping()
    assert "clocks or keys" in caught.value.hint
    late = refusals.stale({"Date": formatdate(time.time() - 600, usegmt=True)})
    assert "clock is 600 s behind" in late or "clock is 601 s behind" in late


def test_basic_accounts_serve_several_threads_at_once(server: Running) -> None:
    server.state.basic = True
    with server.client(**ACCOUNT) as registry, ThreadPoolExecutor(8) as pool:
        together = threading.Barrier(8)

        def ping(_: int) -> None:
            together.wait()
            registry.ping()

        list(pool.map(ping, range(8)))
    wrong = server.client(username="me", password="no")  # noqa: S106
    with wrong as registry, pytest.raises(ProvisionError, match="401"):
        registry.ping()


@pytest.mark.parametrize(
    ("header", "scheme", "parameters"),
    [
        ('Basic realm="a, b"', "basic", {"realm": "a, b"}),
        (
            'Bearer realm="https://t/x",service="r",scope="a:b:c,d"',
            "bearer",
            {"realm": "https://t/x", "service": "r", "scope": "a:b:c,d"},
        ),
        ("Negotiate", "negotiate", {}),
        ("", "", {}),
        ("Basic realm=", "basic", {"realm": ""}),
        ('Basic realm = "a \\"b\\""', "basic", {"realm": 'a "b"'}),
        ('BEARER Realm="https://t/x",SERVICE=r', "bearer", {"realm": "https://t/x", "service": "r"}),
        ('Negotiate, Basic realm="x"', "basic", {"realm": "x"}),
        (
            'Negotiate YII/a==, Basic realm="x, Bearer realm=y", Digest realm="z"',
            "basic",
            {"realm": "x, Bearer realm=y"},
        ),
        (
            'Basic realm="x", Bearer realm="https://t/x",service="r"',
            "bearer",
            {"realm": "https://t/x", "service": "r"},
        ),
        ('Bearer service="r", Basic realm="x"', "basic", {"realm": "x"}),
        ('Bearer realm="https://t', "bearer", {"realm": ""}),
        ('="" , realm=y, "', "", {}),
    ],
)
def test_challenges(header: str, scheme: str, parameters: dict[str, str]) -> None:
    assert Challenge.parse(header) == Challenge(scheme, parameters)


SCHEMES = ("Basic", "Bearer ", "Negotiate", " realm=", "Realm = ", "service")
SIGNS = ('"', "=", ",", " ", "\\", "é", "\x00")
REALMS = ("https://t/x", "http://registry.example/t", "https://[", "://", ":99999999/", "ftp://t")
PIECES = st.sampled_from(SCHEMES + SIGNS + REALMS)
ANSWERS = st.sampled_from((b'{"token": "t"}', b'{"token": "\\n"}', b"[]")) | st.binary(max_size=50)


@given(st.lists(PIECES | st.text(max_size=5), max_size=30).map("".join), ANSWERS)
def test_any_challenge(header: str, answer: bytes) -> None:
    """It is answered or not, or refused in words."""

    def ask(url: str, _: object) -> bytes:
        service_of(url, reached(443))
        return answer

    authorizer = auth.Authorizer(auth.Credentials("me", "secret"), ask)
    with suppress(ProvisionError):
        if authorizer.accept(header, ("s",), {}):
            assert authorizer.headers(("s",))["Authorization"].isascii()


def test_of_several_challenges_one_is_answered(server: Running) -> None:
    def two(handler: Handler) -> bool:
        handler.send_response(401)
        handler.send_header("WWW-Authenticate", "Negotiate")
        handler.send_header("WWW-Authenticate", 'Basic realm="x"')
        handler.send_header("Content-Length", "0")
        handler.end_headers()
        return True

    server.state.basic = True
    server.state.faults.append(two)
    with server.client(**ACCOUNT) as registry:
        registry.ping()
    assert len(server.state.requests) == 2
