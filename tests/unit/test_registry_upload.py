"""Uploads of blobs and manifests to a registry that breaks off, forgets, limits, mounts. Over real TLS."""

from __future__ import annotations

from pathlib import Path

import pytest
from registryfaults import ACCOUNT, CONTENT, breaking
from registryserver import Handler, Running, image

from provisioner.engine.events import Event, Progress, silent
from provisioner.errors import ProvisionError
from provisioner.registry import upload
from provisioner.registry.index import combined

pytest_plugins = ["registryfixtures"]


@pytest.mark.parametrize(
    "location",
    ["{path}", "https://{host}{path}", "http://{host}{path}", "http://inner:5000{path}"],
)
def test_every_kind_of_location_is_followed_on_our_connection(
    server: Running, tmp_path: Path, location: str
) -> None:
    server.state.location = location
    pushed = image(tmp_path, b"config", b"layer")
    with server.client() as registry:
        registry.push(pushed, "a/b", "v1", silent)
    assert {digest for _, digest in server.state.blobs} == {blob.digest for blob in pushed.blobs}
    puts = [path for method, path in server.state.requests if method == "PUT" and "/uploads/" in path]
    assert all("?state=1&digest=" in path for path in puts), "the registry's own query is kept"


@pytest.mark.usefixtures("chunked")
@pytest.mark.parametrize("nth", [1, 2])
def test_a_broken_chunk_goes_on_where_the_registry_is(server: Running, tmp_path: Path, nth: int) -> None:
    server.state.faults.append(breaking("PATCH", 30_000, nth))
    events: list[Event] = []
    with server.client() as registry:
        registry.push(image(tmp_path, CONTENT), "a/b", "v1", events.append)
    assert server.state.contents == {CONTENT}
    assert server.state.received == len(CONTENT), "no byte is sent twice"
    last = [event for event in events if isinstance(event, Progress)][-1]
    assert (last.done, last.total) == (len(CONTENT), len(CONTENT))


@pytest.mark.usefixtures("chunked")
def test_an_answer_that_is_lost_costs_no_byte(server: Running, tmp_path: Path) -> None:
    server.state.faults.append(breaking("PATCH", 100_000, 2))
    with server.client() as registry:
        registry.push(image(tmp_path, CONTENT), "a/b", "v1", silent)
    assert server.state.contents == {CONTENT}
    assert server.state.received == len(CONTENT)


@pytest.mark.usefixtures("chunked")
def test_a_chunk_out_of_order_goes_on_where_the_registry_says(server: Running, tmp_path: Path) -> None:
    def half(handler: Handler) -> bool:
        """Says that it has the chunk, and has half of it."""
        if handler.command != "PATCH":
            return False
        data = handler.body()
        session = handler.path.partition("?")[0].rpartition("/")[2]
        handler.state.uploads[session] += data[: len(data) // 2]
        handler.answer(202, Location=handler.path, Range=f"0-{len(data) - 1}")
        return True

    server.state.faults.append(half)
    with server.client() as registry:
        registry.push(image(tmp_path, CONTENT), "a/b", "v1", silent)
    assert server.state.contents == {CONTENT}
    assert len(server.asked("POST")) == 1


@pytest.mark.usefixtures("chunked")
@pytest.mark.parametrize("forget", ["PATCH", "PUT"])
def test_a_forgotten_upload_begins_anew(server: Running, tmp_path: Path, forget: str) -> None:
    def lose(handler: Handler) -> bool:
        if handler.command == forget and "/uploads/" in handler.path:
            handler.state.uploads.clear()
            server.state.faults.clear()
        return False

    server.state.faults.append(lose)
    with server.client() as registry:
        registry.push(image(tmp_path, CONTENT), "a/b", "v1", silent)
    assert server.state.contents == {CONTENT}
    assert len(server.asked("POST")) == 2


@pytest.mark.usefixtures("chunked")
def test_a_registry_that_wants_no_chunk_where_it_stands_gets_another_upload(
    server: Running, tmp_path: Path
) -> None:
    def never(handler: Handler) -> bool:
        if handler.command != "PATCH":
            return False
        handler.body()
        handler.answer(416)
        return True

    server.state.faults.append(never)
    with server.client() as registry:
        registry.push(image(tmp_path, CONTENT), "a/b", "v1", silent)
    assert server.state.contents == {CONTENT}
    assert len(server.asked("POST")) == 2


@pytest.mark.usefixtures("chunked")
def test_chunks_are_as_large_as_the_registry_wants(server: Running, tmp_path: Path) -> None:
    server.state.smallest = 200_000
    with server.client() as registry:
        registry.push(image(tmp_path, CONTENT), "a/b", "v1", silent)
    assert len(server.asked("PATCH")) == 2


@pytest.mark.parametrize("size", [50_000, len(bytes(256_000))])
@pytest.mark.usefixtures("chunked")
def test_a_proxy_that_limits_bodies_gets_smaller_ones(
    server: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(upload, "MONOLITHIC_LIMIT", 60_000)
    server.state.limit = 30_000
    with server.client() as registry:
        registry.push(image(tmp_path, CONTENT[:size]), "a/b", "v1", silent)
        assert server.state.contents == {CONTENT[:size]}
        server.state.limit = 5_000
        with pytest.raises(ProvisionError, match="413") as caught:
            registry.push(image(tmp_path, CONTENT[1 : size + 1]), "a/b", "v2", silent)
    assert "client_max_body_size" in caught.value.hint


def test_a_broken_put_is_sent_anew(server: Running, tmp_path: Path) -> None:
    content = bytes(1_000_000)
    server.state.faults.append(breaking("PUT", 1000))
    with server.client() as registry:
        result = registry.push(image(tmp_path, content), "a/b", "v1", silent)
    assert (result.blobs_sent, result.bytes_sent) == (1, len(content))
    assert server.state.contents == {content}


def test_a_second_push_sends_nothing(server: Running, tmp_path: Path) -> None:
    pushed = image(tmp_path, b"config", b"layer", b"more")
    with server.client() as registry:
        first = registry.push(pushed, "a/b", "v1", silent)
        server.state.requests.clear()
        again = registry.push(pushed, "a/b", "v1", silent)
    assert (first.blobs_sent, first.skipped) == (3, 0)
    assert (again.blobs_sent, again.skipped) == (0, 3)
    assert server.state.requests == [("HEAD", "/v2/a/b/manifests/v1")]


def test_what_the_repository_has_is_not_sent(server: Running, tmp_path: Path) -> None:
    with server.client() as registry:
        registry.push(image(tmp_path, b"config", b"layer"), "a/b", "v1", silent)
    server.state.received = 0
    with server.client() as registry:
        result = registry.push(image(tmp_path, b"other", b"layer"), "a/b", "v2", silent)
    assert (result.blobs_sent, result.skipped) == (1, 1)
    assert server.state.received == len(b"other")


def test_a_blob_in_an_object_store_is_there(server: Running, tmp_path: Path) -> None:
    pushed = image(tmp_path, b"config")
    server.state.blobs["a/b", pushed.blobs[0].digest] = b"config"

    def elsewhere(handler: Handler) -> bool:
        if handler.command != "HEAD" or "/blobs/" not in handler.path:
            return False
        handler.answer(307, Location="https://store.example/x")
        return True

    server.state.faults.append(elsewhere)
    with server.client() as registry:
        assert registry.push(pushed, "a/b", "v1", silent).skipped == 1


def test_blobs_of_a_sibling_are_mounted(server: Running, tmp_path: Path) -> None:
    server.state.tokens = True
    with server.client(**ACCOUNT) as registry:
        registry.push(image(tmp_path, b"one", b"shared"), "a/b", "v1", silent)
        result = registry.push(image(tmp_path, b"two", b"shared"), "c/d", "v1", silent)
    assert (result.blobs_sent, result.mounted) == (1, 1)
    assert "repository:a/b:pull" in {scope for scopes in server.state.issued.values() for scope in scopes}


@pytest.mark.parametrize("status", [202, 400, 405])
def test_a_registry_that_cannot_mount_gets_the_bytes(server: Running, tmp_path: Path, status: int) -> None:
    server.state.mounts = False

    def refuse(handler: Handler) -> bool:
        if "mount=" not in handler.path or status == 202:
            return False
        handler.refuse(status, "UNSUPPORTED")
        return True

    server.state.faults.append(refuse)
    with server.client() as registry:
        registry.push(image(tmp_path, b"one", b"shared"), "a/b", "v1", silent)
        result = registry.push(image(tmp_path, b"two", b"shared"), "c/d", "v1", silent)
    assert (result.blobs_sent, result.mounted) == (2, 0)


def test_an_index_comes_after_its_children(server: Running, tmp_path: Path) -> None:
    children = {"linux/amd64": image(tmp_path, b"one"), "linux/arm64": image(tmp_path, b"two", b"three")}
    index = combined(children)
    with server.client() as registry:
        result = registry.push_index(index, "a/b", "v1", silent)
        assert result.blobs_sent == 3
        assert registry.digest("a/b", "v1") == index.digest
        for child in children.values():
            assert registry.digest("a/b", child.digest) == child.digest
        server.state.requests.clear()
        assert registry.push_index(index, "a/b", "v1", silent).skipped == 3
    assert len(server.state.requests) == 1


def test_the_manifest_is_sent_last_and_read_back(server: Running, tmp_path: Path) -> None:
    with server.client() as registry:
        registry.push(image(tmp_path, b"one", b"two", b"three"), "a/b", "v1", silent)
        assert server.state.requests[-1] == ("PUT", "/v2/a/b/manifests/v1")
        server.state.wrong_digest = True
        with pytest.raises(ProvisionError, match="instead of"):
            registry.push(image(tmp_path, b"four"), "a/b", "v2", silent)


def test_a_refusal_ends_the_push_before_the_manifest(server: Running, tmp_path: Path) -> None:
    pushed = image(tmp_path, b"one", b"two")
    pushed.blobs[1].path.write_bytes(b"twx")
    with server.client() as registry, pytest.raises(ProvisionError, match="DIGEST_INVALID"):
        registry.push(pushed, "a/b", "v1", silent)
    assert not server.state.manifests
