"""Follows a bundle from its index over the manifests to every blob: what has to be there, and how large it is.

Each manifest is hashed before it is believed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from provisioner.bundle import oci
from provisioner.bundle.contents import INDEX, LAYOUT, Contents
from provisioner.bundle.oci import Descriptor
from provisioner.bundle.seal import is_sealed

# What registries take at most (distribution's limit for a manifest).
MANIFEST_LIMIT = 4 << 20
_MANIFESTS = (oci.MANIFEST, oci.DOCKER_MANIFEST)
_INDEXES = (oci.INDEX, oci.DOCKER_INDEX)
_DEPTH = 3


@dataclass
class References:
    """`sizes` of every blob that is asked for, by digest, and its `askers`: images and components; `manifests` are
    those that were read. `faults` by name."""

    contents: Contents
    entries: list[Descriptor] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)
    askers: dict[str, list[str]] = field(default_factory=dict)
    manifests: dict[str, dict[str, Any]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    is_sealed: bool = False
    missing: dict[str, None] = field(default_factory=dict)

    def asked_by(self, digest: str) -> str:
        """In words, for a blob that is missing or wrong."""
        names = list(dict.fromkeys(self.askers.get(digest, ())))
        more = (
            f" and {len(names) - 1} others"
            if len(names) > 2
            else f" and {names[1]}"
            if len(names) == 2
            else ""
        )
        return f"; {names[0]}{more} ask{'' if more else 's'} for it" if names else ""

    def unreferenced(self) -> Iterator[str]:
        """Names of blobs that nothing asks for."""
        for name in sorted(self.contents.pieces):
            folder, _, hexadecimal = name.rpartition("/")
            if folder and f"sha256:{hexadecimal}" not in self.sizes:
                yield name


def follow(contents: Contents) -> References:
    """Everything that the index leads to. Faults of index.json and oci-layout are among the faults."""
    result = References(contents)
    _check_layout(result)
    try:
        index = contents.pieces[INDEX].read()
        document = json.loads(index)
        result.is_sealed = is_sealed(index)
        result.entries += [Descriptor.parse(entry) for entry in document["manifests"]]
    except KeyError as error:
        missing = "is missing" if error.args == (INDEX,) else f"has no {error}"
        result.faults.append(f"{INDEX}: {missing}")
    except (TypeError, AttributeError):
        result.faults.append(f"{INDEX}: is no index of an OCI layout")
    except (ValueError, RecursionError) as error:
        result.faults.append(f"{INDEX}: {error}")
    for entry in result.entries:
        _descend(result, entry, _name(entry), 1)
    result.faults += [f"{digest}: is missing{result.asked_by(digest)}" for digest in result.missing]
    return result


def _name(entry: Descriptor) -> str:
    """As people know it: an image's reference, a component's title or name."""
    notes = entry.annotations
    return notes.get(oci.REF_NAME) or notes.get(oci.COMPONENT) or notes.get(oci.TITLE) or INDEX


def _check_layout(result: References) -> None:
    try:
        document = json.loads(result.contents.pieces[LAYOUT].read())
        version = document["imageLayoutVersion"]
        if version != "1.0.0":
            result.faults.append(f"{LAYOUT}: an OCI layout of version {version!r}, not 1.0.0")
    except (KeyError, TypeError, ValueError, RecursionError):
        said = "does not say that this is an OCI layout" if LAYOUT in result.contents.pieces else "is missing"
        result.faults.append(f"{LAYOUT}: {said}")


def _descend(result: References, blob: Descriptor, asked_by: str, depth: int) -> None:
    result.askers.setdefault(blob.digest, []).append(asked_by)
    known = result.sizes.setdefault(blob.digest, blob.size)
    if known != blob.size:
        result.faults.append(f"{blob.digest}: of {known} or of {blob.size} bytes, as {asked_by} says")
        return
    try:
        piece = result.contents.blob(blob.digest)
    except FileNotFoundError:
        result.missing[blob.digest] = None
        return
    if piece.size != blob.size:
        cut = ": it was cut off" if piece.size < blob.size else ""
        result.faults.append(
            f"{blob.digest}: has {piece.size} bytes instead of {blob.size}{cut}; it is of {asked_by}"
        )
    elif blob.media_type in (*_MANIFESTS, *_INDEXES) and blob.digest not in result.manifests:
        for below in _below(result, blob, depth):
            _descend(result, below, asked_by, depth + 1)


def _below(result: References, blob: Descriptor, depth: int) -> list[Descriptor]:
    try:
        data = result.contents.blob(blob.digest).read(MANIFEST_LIMIT)
        if oci.digest_of(data) != blob.digest:
            raise ValueError(f"its bytes are those of {oci.digest_of(data)}")
        if depth > _DEPTH:
            raise ValueError(f"an index in an index, {depth} deep")
        document = json.loads(data)
        below = (
            document["manifests"]
            if blob.media_type in _INDEXES
            else (document["config"], *document["layers"])
        )
        result.manifests[blob.digest] = document
        return [Descriptor.parse(each) for each in below]
    except KeyError as error:
        result.faults.append(f"{blob.digest}: a manifest without {error}")
    except (TypeError, ValueError, AttributeError, RecursionError) as error:
        result.faults.append(f"{blob.digest}: {error}")
    return []
