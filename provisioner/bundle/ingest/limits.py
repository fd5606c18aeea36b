"""How much of a stranger's file is believed, and how its faults are told."""

from __future__ import annotations

from dataclasses import dataclass

from provisioner.errors import ProvisionError


@dataclass(frozen=True)
class Limits:
    """The most that is read: `document` bytes of JSON or of a name, `content` bytes of one file after decompression,
    `members` of one archive, and `names` bytes of all their names. Images of hundreds of layers and of tens of
    gigabytes are below."""

    document: int = 4 << 20
    content: int = 64 << 30
    members: int = 100_000
    names: int = 32 << 20


LIMITS = Limits()


def shown(name: str) -> str:
    """A name out of an archive as it may be printed: control characters escaped, cut where it is absurdly long."""
    text = name if name.isprintable() else ascii(name)[1:-1]
    return text if len(text) <= 200 else f"{text[:200]}…"


def refusal(name: str, reason: str, hint: str = "") -> ProvisionError:
    """The fault of one member. The file that has it is put before it by who knows it."""
    return ProvisionError(f"{shown(name)}: {reason}", hint)
