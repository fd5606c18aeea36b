"""What Go wrote into a program about its build (debug/buildinfo): which package it is, of which module and version.

Nothing is run: the file may be anything.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from provisioner.bundle.catalogue import Component
from provisioner.bundle.store import CHUNK

_MAGIC = b"\xff Go buildinf:"
_ALIGNED, _INLINE, _HEADER = 16, 2, 32
_MOST = 16 << 20
_MACHINES = {62: "amd64", 183: "arm64", 40: "arm", 243: "riscv64", 22: "s390x", 21: "ppc64le"}
# What -X sets is written with a zero after it, alone among the texts of a program.
_STATED = re.compile(rb"(?<=\0)v?\d+\.\d+\.\d+(?:-(?:alpha|beta|rc)[.\d]*)?(?:[-+][\w.]+)?(?=\0)")
_RELEASE = re.compile(r"v\d+\.\d+\.\d+(?:-(?:alpha|beta|rc)[.\d]*)?(?:\+\w+)?")
# A release of etcd is built in its repository, where the version of this module of its own is the release's.
_TOLD_BY = {"go.etcd.io/etcd/": "go.etcd.io/etcd/api/v3"}
_OVERLAP = 128


@dataclass(frozen=True)
class Program:
    """`package` is the import path of its main package, `version` that of its module or "", `ldflags` as they were
    given to the linker where that was written down, `dependencies` versions by module."""

    path: Path
    architecture: str
    package: str = ""
    version: str = ""
    ldflags: str = ""
    dependencies: Mapping[str, str] | None = None


def read_program(path: Path) -> Program | None:
    """None for what is no ELF program for 64 bits; without a package where Go (1.18 or newer) did not build it."""
    with path.open("rb") as file:
        head = file.read(20)
        if head[:6] != b"\x7fELF\x02\x01" or len(head) < 20:
            return None
        (machine,) = struct.unpack_from("<H", head, 18)
        architecture = _MACHINES.get(machine, f"machine {machine}")
        return _parsed(path, architecture, _build_info(file))


def _build_info(file: BinaryIO) -> str:
    """The lines that `go version -m` shows, "" when there are none."""
    for offset in _places(file, _MAGIC):
        if offset % _ALIGNED:
            continue
        file.seek(offset)
        header = file.read(_HEADER)
        if len(header) == _HEADER and header[15] & _INLINE:
            version = _text(file)
            lines = _text(file)
            # Sixteen bytes before and after mark the lines for tools that search for them.
            if version.startswith(b"go") or lines:
                return lines[16:-16].decode("utf-8", "replace")
    return ""


def _text(file: BinaryIO) -> bytes:
    """A text with its length, as a varint, before it."""
    length = shift = 0
    while (byte := file.read(1)) and shift < 63:
        length |= (byte[0] & 0x7F) << shift
        shift += 7
        if byte[0] < 0x80:
            return file.read(length) if length <= _MOST else b""
    return b""


def _places(file: BinaryIO, wanted: bytes) -> Iterator[int]:
    for base, window in _windows(file):
        at = window.find(wanted)
        while at >= 0:
            yield base + at
            at = window.find(wanted, at + 1)


def _windows(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """The file in pieces that overlap, each with its offset. What is found in an overlap is found twice."""
    base, rest = 0, b""
    file.seek(0)
    while data := file.read(CHUNK):
        window = rest + data
        yield base, window
        rest = window[-_OVERLAP:]
        base += len(window) - len(rest)
        file.seek(base + len(rest))


def _parsed(path: Path, architecture: str, lines: str) -> Program:
    package = version = ldflags = ""
    dependencies: dict[str, str] = {}
    for line in lines.splitlines():
        kind, *words = line.split("\t")
        if kind == "path" and words:
            package = words[0]
        elif kind == "mod" and len(words) > 1:
            version = words[1]
        elif kind == "dep" and len(words) > 1:
            dependencies[words[0]] = words[1]
        elif kind == "build" and words and words[0].startswith("-ldflags="):
            ldflags = words[0].removeprefix("-ldflags=").strip('"')
    return Program(path, architecture, package, version, ldflags, dependencies)


def version_of(program: Program, component: Component) -> str:
    """The release that a program of the component is of, as v1.2.3; "" when it does not tell. Told by what the linker
    was given for the variables that the catalogue sets, the module's version, or a module that has its version."""
    names = [
        flag.removeprefix("-X ").partition("=")[0]
        for flag in component.module.ldflags
        if flag.startswith("-X ") and flag.endswith("=" + component.version)
    ]
    for name in names:
        found = re.search(re.escape(name) + r"=['\"]?([^\s'\"]+)", program.ldflags)
        if found:
            return _release(found[1])
    if _release(program.version):
        return _release(program.version)
    if names and (found_texts := _stated(program.path)):
        return found_texts
    told_by = next((of for start, of in _TOLD_BY.items() if program.package.startswith(start)), "")
    return _release((program.dependencies or {}).get(told_by, ""))


def _release(text: str) -> str:
    text = text if text.startswith("v") or not text[:1].isdigit() else f"v{text}"
    return text.partition("+")[0] if _RELEASE.fullmatch(text) else ""


def _stated(path: Path) -> str:
    """The one version that is written as -X writes it; "" for none or several."""
    with path.open("rb") as file:
        found = {match.decode() for _, window in _windows(file) for match in _STATED.findall(window)}
    releases = {_release(each) for each in found} - {""}
    return releases.pop() if len(releases) == 1 else ""
