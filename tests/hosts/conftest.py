"""One host for all tests of kinds: brought up for the first, taken down after the last."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from onehost import Host, one_host


@pytest.fixture(scope="session")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with one_host(tmp_path_factory.mktemp("kinds")) as one:
        yield one
