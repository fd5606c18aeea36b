"""The registry of the tests and what its clients are set to, as a plug-in of pytest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from registryserver import Running, State, certificate, serve

from provisioner.registry import transport, upload


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A key and a certificate of the server."""
    return certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def server(pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """One whose clients wait shortly only before they try again."""
    monkeypatch.setattr(transport, "_FIRST_DELAY_SECONDS", 0.001)
    with serve(*pair, State()) as running:
        yield running
    assert running.state.violations == []


@pytest.fixture
def chunked(monkeypatch: pytest.MonkeyPatch) -> None:
    """CONTENT goes in three chunks."""
    monkeypatch.setattr(upload, "MONOLITHIC_LIMIT", 1000)
    monkeypatch.setattr(upload, "CHUNK", 100_000)
    monkeypatch.setattr(upload, "SMALLEST_CHUNK", 10_000)
