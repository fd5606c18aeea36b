"""Downloads through the HTTP proxy that an inventory names."""

from __future__ import annotations

import os
from pathlib import Path

from provisioner.engine.events import Emit, Note


def use_proxy_of(inventory: Path, emit: Emit) -> None:
    """From now on this process and all that it starts (Go, apt) use the proxy of the inventory's cluster, if it has
    one. Raises InputError."""
    from provisioner.spec.load import load_cluster
    from provisioner.spec.proxies import described, environment

    _inventory, spec = load_cluster(inventory)
    os.environ.update(environment(spec))
    if spec.http_proxy:
        emit(Note(message=f"downloads go through {described(spec.http_proxy.url)}"))
