"""Packages of an operating system as a bundle has them: read from its layout."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from provisioner.bundle.apt import parse_paragraphs


@dataclass(frozen=True)
class OsPackage:
    """One package's file. `sha256` is hexadecimal, `size` in bytes, `file` its name. `needs` names every package that
    it has to be installed with; empty for one that is there because of others only."""

    name: str
    version: str
    file: str
    sha256: str
    size: int
    path: Path
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class OsPackages:
    """The packages for one release of an operating system (`name`, as debian-12), and the list with which its package
    manager reads them (`index`)."""

    name: str
    platform: str
    index: Path
    packages: Mapping[str, OsPackage]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(each.size for each in self.packages.values())

    @cached_property
    def paragraphs(self) -> Mapping[str, Mapping[str, str]]:
        """What the list says of each package, by name."""
        text = self.index.read_text(encoding="utf-8")
        return {each["Package"]: each for each in parse_paragraphs(text)}

    def missing(self, names: Iterable[str]) -> tuple[str, ...]:
        """Those of the `names` that are not to be had here."""
        return tuple(name for name in names if not self.packages.get(name, _NONE).needs)

    def with_needs(self, names: Iterable[str]) -> tuple[OsPackage, ...]:
        """The packages `names` with all that they need, by name. Raises KeyError."""
        wanted = {need for name in names for need in self.packages[name].needs}
        return tuple(self.packages[name] for name in sorted(wanted))


_NONE = OsPackage("", "", "", "", 0, Path())
