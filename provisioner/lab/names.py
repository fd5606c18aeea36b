"""The names of everything that a lab puts on the machine, derived from its directory alone.

Nothing has to be remembered to find a lab again: whoever knows the directory can take the lab down.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Names:
    """`key` is six hex digits. Interface names stay within the kernel's 15 characters."""

    key: str

    @staticmethod
    def of(directory: Path) -> Names:
        return Names(hashlib.sha256(str(directory.absolute()).encode()).hexdigest()[:6])

    @property
    def uplink(self) -> str:
        """The machine's own end of the lab's network; it carries the gateway address."""
        return f"pv-{self.key}"

    @property
    def bridge(self) -> str:
        """The bridge, inside `switch`."""
        return f"pv-{self.key}"

    @property
    def switch(self) -> str:
        """The network namespace that holds the bridge and one port a host."""
        return f"pv-{self.key}"

    @property
    def cgroup(self) -> str:
        """The lab's subtree in every cgroup hierarchy."""
        return f"pv-{self.key}"

    def namespace(self, host: str) -> str:
        return f"pv-{self.key}-{host}"

    def port(self, offset: int) -> str:
        """The bridge's port of the host whose address is the subnet's `offset`-th."""
        return f"port-{offset}"
