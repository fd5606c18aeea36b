"""What a real registry does rarely: busy answers, silence, refusals. Over real TLS."""

from __future__ import annotations

import socket
import time
from email.utils import formatdate
from pathlib import Path

import pytest
from registryfaults import ACCOUNT, CONTENT, breaking, busy, silence
from registryserver import Handler, Running, image, reached

from provisioner.engine.events import silent
from provisioner.errors import ProvisionError, UnreachableError
from provisioner.registry import refusals, transport, upload
from provisioner.registry.client import Registry

pytest_plugins = ["registryfixtures"]


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_busy_registry_is_asked_again(server: Running, status: int) -> None:
    server.state.faults += [busy(status), busy(status)]
    with server.client() as registry:
        registry.ping()
    assert len(server.state.requests) == 3


def test_a_registry_that_stays_busy_is_given_up(server: Running) -> None:
    server.state.faults += [busy(503)] * transport.ATTEMPTS
    with server.client() as registry, pytest.raises(UnreachableError, match="503"):
        registry.ping()


STALLS = [
    ("HEAD", "/manifests/"),
    ("HEAD", "/blobs/"),
    ("POST", "/uploads/"),
    ("PATCH", "/uploads/"),
    ("PUT", "/uploads/"),
    ("PUT", "/manifests/"),
    ("GET", "/token"),
]


@pytest.mark.usefixtures("chunked")
@pytest.mark.parametrize(("method", "part"), STALLS)
def test_no_request_is_waited_for_without_end(
    server: Running, tmp_path: Path, method: str, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "_COMMIT_BYTES_PER_SECOND", 20e6)
    server.state.tokens = True
    server.state.faults.append(silence(method, part, 30.0))
    began = time.monotonic()
    with server.client(stall_seconds=0.3, **ACCOUNT) as registry:
        registry.push(image(tmp_path, CONTENT), "a/b", "v1", silent)
    assert not server.state.faults, "it was silent"
    assert server.state.contents == {CONTENT}
    assert time.monotonic() - began < 30, "as long as one is silent"


@pytest.mark.usefixtures("chunked")
def test_the_question_after_a_break_is_not_waited_for_either(server: Running, tmp_path: Path) -> None:
    server.state.faults += [breaking("PATCH", 1000), silence("GET", "/uploads/", 30.0)]
    with server.client(stall_seconds=0.3) as registry:
        registry.push(image(tmp_path, CONTENT), "a/b", "v1", silent)
    assert server.state.contents == {CONTENT}


def test_an_answer_that_trickles_is_not_waited_for(server: Running) -> None:
    def trickle(handler: Handler) -> bool:
        handler.used_up(trickle)
        handler.send_response(200)
        handler.send_header("Content-Length", "2000")
        handler.end_headers()
        handler.close_connection = True
        for _ in range(2000):
            handler.wfile.write(b" ")
            time.sleep(0.02)
        return True

    server.state.faults.append(trickle)
    began = time.monotonic()
    with server.client(stall_seconds=0.1) as registry:
        registry.ping()
    assert time.monotonic() - began < 40, "as long as it trickles"


def test_a_slow_upload_may_last_longer_than_the_silence_that_ends_it(server: Running, tmp_path: Path) -> None:
    content = bytes(16 << 20)

    def slow(handler: Handler) -> bool:
        if handler.command != "PUT":
            return False
        session = handler.path.partition("?")[0].rpartition("/")[2]
        for _ in range(20):
            handler.state.uploads[session] += handler.rfile.read(len(content) // 32)
            time.sleep(0.1)
        handler.headers.replace_header("Content-Length", str(len(content) - 20 * (len(content) // 32)))
        server.state.faults.clear()
        return False

    server.state.faults.append(slow)
    began = time.monotonic()
    with server.client(stall_seconds=0.5) as registry:
        registry.push(image(tmp_path, content), "a/b", "v1", silent)
    assert server.state.contents == {content}
    assert len(server.asked("PUT", "/uploads/")) == 1
    assert time.monotonic() - began > 2


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7), ("", 0), ("soon", 0), ("²", 0), (formatdate(5000, usegmt=True), 0)],
)
def test_retry_after(value: str, seconds: float) -> None:
    assert refusals.retry_after({"Retry-After": value}) == seconds


def test_a_date_to_come_back_at_is_by_the_registrys_clock() -> None:
    assert 90 < refusals.retry_after({"Retry-After": formatdate(time.time() + 100, usegmt=True)}) <= 100
    headers = {"Retry-After": formatdate(5000, usegmt=True), "Date": formatdate(4990, usegmt=True)}
    assert refusals.retry_after(headers) == 10


def test_the_registry_is_left_alone_as_long_as_it_wants(server: Running) -> None:
    server.state.faults.append(busy(429, Retry_After="1"))
    began = time.monotonic()
    with server.client() as registry:
        registry.ping()
    assert time.monotonic() - began >= 1


def test_a_limit_of_a_proxy_is_explained(server: Running, tmp_path: Path) -> None:
    server.state.faults.append(busy(413))
    with server.client() as registry, pytest.raises(ProvisionError) as caught:
        registry.ping()
    assert "client_max_body_size" in caught.value.hint


@pytest.mark.parametrize(
    ("status", "code", "message", "hint"),
    [
        (403, "DENIED", "The system is in read only mode. Any modification is prohibited.", "read-only mode"),
        (412, "DENIED", "Quota exceeded when processing the request of adding 1.3 MiB", "quota is used up"),
        (
            403,
            "DENIED",
            "adding 9.8 GiB of storage, which when updated to current usage will exceed the configured upper limit",
            "quota is used up",
        ),
        (404, "NOT_FOUND", "project calico not found", "no such project"),
        (403, "DENIED", "requested access to the resource is denied", "when the project does not exist"),
        (
            412,
            "PROJECTPOLICYVIOLATION",
            "Failed to process request due to 'v1' configured as immutable.",
            "immutable",
        ),
    ],
)
def test_harbors_refusals_are_explained(
    server: Running, tmp_path: Path, status: int, code: str, message: str, hint: str
) -> None:
    def refuse(handler: Handler) -> bool:
        if handler.command != "POST":
            return False
        handler.body()
        handler.refuse(status, code, message)
        return True

    server.state.faults.append(refuse)
    with server.client() as registry, pytest.raises(ProvisionError, match=str(status)) as caught:
        registry.push(image(tmp_path, b"one"), "calico/node", "v1", silent)
    assert message in caught.value.reason
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("status", "said", "hint"),
    [
        (
            401,
            "UNAUTHORIZED: unauthorized to access repository: p/quota-exporter, action: push",
            "another user",
        ),
        (
            401,
            "UNAUTHORIZED: unauthorized to access repository: quota/immutable, action: push",
            "another user",
        ),
        (404, "NOT_FOUND: project quota not found", "no such project"),
        (403, "DENIED: quotas: used up", "quota is used up"),
        (412, "PROJECTPOLICYVIOLATION: configured as immutable.", "immutable"),
    ],
)
def test_a_repositorys_name_is_no_cause(status: int, said: str, hint: str) -> None:
    assert hint in refusals.hint(status, f"HTTP {status} {said}")


def test_the_address_of_what_is_refused_is_no_cause(server: Running) -> None:
    server.state.faults.append(busy(401))
    with server.client() as registry, pytest.raises(ProvisionError, match="quota") as caught:
        registry.digest("quota", "v1")
    assert "another user or password" in caught.value.hint


def test_a_location_that_is_no_url(server: Running, tmp_path: Path) -> None:
    server.state.location = "https://["
    with server.client() as registry, pytest.raises(ProvisionError, match="which is no URL"):
        registry.push(image(tmp_path, b"one"), "a/b", "v1", silent)


def test_silence_is_not_waited_for(pair: tuple[Path, Path]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        registry = Registry(reached(port, ca_pem=pair[1].read_bytes(), stall_seconds=0.05))
        with registry, pytest.raises(UnreachableError):
            registry.ping()


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with (
        Registry(reached(port)) as registry,
        pytest.raises(UnreachableError, match="nothing listens on"),
    ):
        registry.ping()
