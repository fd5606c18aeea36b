"""How a run starts: its inputs are read and checked, then the hosts are being connected.

Few imports: a host's server needs as long for a connection as the rest of the program needs to be imported, so the
connections are begun before that.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from provisioner.action.connect import Begun, begin
from provisioner.action.load import Loaded, Request, load
from provisioner.engine.events import Emit, silent


@dataclass(frozen=True)
class Started:
    """`time`: when it started, by the monotonic clock. `begun` is None when no way to the hosts was found."""

    loaded: Loaded
    begun: Begun | None
    time: float


def start(request: Request, emit: Emit = silent) -> Started:
    """Raises InputError with every problem of the inputs; no host is reached then. `emit` gets what takes a while."""
    began = time.monotonic()
    loaded = load(request, emit)
    return Started(loaded, begin(loaded.inventory, loaded.hosts), began)
