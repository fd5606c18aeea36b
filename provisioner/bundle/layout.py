"""Reads a bundle: which artifacts and images it has and where their bytes are.

Opening proves that no blob is missing, and that the index and the manifests are whole.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

from provisioner.bundle import oci
from provisioner.bundle.contents import AGAIN, BUILD, INDEX, Contents, read_contents
from provisioner.bundle.oci import Descriptor
from provisioner.bundle.packages import OsPackage, OsPackages
from provisioner.bundle.references import MANIFEST_LIMIT, follow
from provisioner.bundle.seal import is_sealed
from provisioner.errors import ProvisionError

DEFAULT_PLATFORM = "linux/amd64"


@dataclass(frozen=True)
class Artifact:
    """A file. `sha256` is hexadecimal, `size` in bytes, `title` the file name under which it is known.

    `source` is release, module or file: the publisher's own file, a build of the Go module `module`, or a file that
    the user gave. `images` are those that a manifest asks for and the bundle need not have.
    """

    name: str
    version: str
    platform: str
    sha256: str
    size: int
    path: Path
    title: str = ""
    source: str = ""
    module: str = ""
    images: tuple[str, ...] = ()


@dataclass(frozen=True)
class BlobFile:
    """A blob of an image as it lies in the bundle; `size` in bytes."""

    digest: str
    size: int
    path: Path
    media_type: str


@dataclass(frozen=True)
class Image:
    """`name` is the upstream reference without its tag, `digest` that of `manifest`, `blobs` the config
    and the layers.
    """

    name: str
    tag: str
    digest: str
    manifest: bytes
    media_type: str
    blobs: tuple[BlobFile, ...]
    platform: str = DEFAULT_PLATFORM
    source: str = ""
    module: str = ""

    @property
    def reference(self) -> str:
        return f"{self.name}:{self.tag}"


@dataclass(frozen=True)
class Bundle:
    """`digest` is that of index.json, and so of all content."""

    path: Path
    digest: str
    contents: tuple[Artifact | Image | OsPackages, ...]

    @classmethod
    def open(cls, path: Path) -> Bundle:
        """Raises ProvisionError when there is no bundle at `path`, it cannot be read, or a blob is missing
        or cut off.
        """
        return cls.read(read_contents(path))

    @classmethod
    def read(cls, contents: Contents) -> Bundle:
        """The bundle of what was listed. Raises ProvisionError as `open`."""
        path = contents.path
        if INDEX not in contents.pieces:
            raise ProvisionError(f"{path} is no bundle: it has no {INDEX}", BUILD)
        try:
            index = contents.pieces[INDEX].read()
            is_sealed(index)
            entries = [Descriptor.parse(entry) for entry in json.loads(index)["manifests"]]
            parts = tuple(_content(contents, entry) for entry in entries)
        except (
            AttributeError,
            FileNotFoundError,
            LookupError,
            TypeError,
            ValueError,
            RecursionError,
        ) as error:
            hint = AGAIN if path.is_file() else BUILD
            raise ProvisionError(_told(contents, error), hint) from error
        except OSError as error:
            raise ProvisionError(f"{path} cannot be read: {error.strerror}") from error
        return cls(path, oci.digest_of(index), parts)

    def artifacts(self) -> tuple[Artifact, ...]:
        return tuple(content for content in self.contents if isinstance(content, Artifact))

    def images(self) -> tuple[Image, ...]:
        return tuple(content for content in self.contents if isinstance(content, Image))

    def packages(self, name: str, platform: str = DEFAULT_PLATFORM) -> OsPackages | None:
        """The packages for a release of an operating system, named as debian-12; None when it has none."""
        for content in self.contents:
            if isinstance(content, OsPackages) and (content.name, content.platform) == (name, platform):
                return content
        return None

    def lacking(self, artifact: Artifact) -> tuple[str, ...]:
        """The images that a manifest asks for and that are not here."""
        present = {image.reference for image in self.images()}
        return tuple(each for each in artifact.images if each not in present)

    def artifact(self, name: str, platform: str = DEFAULT_PLATFORM, version: str | None = None) -> Artifact:
        """Raises ProvisionError, which tells what is there, when the bundle has no such artifact."""
        named = [content for content in self.artifacts() if content.name == name]
        for content in named:
            if content.platform == platform and version in (None, content.version):
                return content
        there = ", ".join(f"{content.version} for {content.platform}" for content in named)
        wanted = f"{name} {version or ''}".rstrip()
        hint = f"it has {name} {there}" if there else f"`provision bundle build` with {name}"
        raise ProvisionError(f"the bundle {self.path} has no {wanted} for {platform}", hint)

    def image(self, reference: str) -> Image:
        """The image with this upstream reference (`name:tag`). Raises ProvisionError when it is not there."""
        for content in self.images():
            if content.reference == reference:
                return content
        name = reference.rpartition(":")[0]
        tags = ", ".join(content.tag for content in self.images() if content.name == name)
        hint = (
            f"it has the tags {tags}"
            if tags
            else "there are: " + ", ".join(i.reference for i in self.images())
        )
        raise ProvisionError(f"the bundle {self.path} has no image {reference}", hint)


def bundles_directory() -> Path:
    return platformdirs.user_cache_path("provision") / "bundles"


def default_bundle_path() -> Path:
    """Where the last bundle of the whole catalogue is found (a link; it need not exist)."""
    return bundles_directory() / "current"


def _told(contents: Contents, error: Exception) -> str:
    """All that is wrong, as `provision bundle verify` tells it, and not the `error` alone that was met first."""
    try:
        faults = follow(contents).faults
    except OSError:
        faults = []
    if not faults:
        missing = f"has no {error}" if isinstance(error, KeyError) else str(error)
        faults = [f"{INDEX}: is not that of a bundle: {missing}"]
    return "\n".join(f"{contents.path}: {fault}" for fault in faults)


def _content(contents: Contents, entry: Descriptor) -> Artifact | Image | OsPackages:
    _blob(contents, entry)
    data = contents.blob(entry.digest).read(MANIFEST_LIMIT)
    if oci.digest_of(data) != entry.digest:
        raise ValueError(f"{entry.digest} has the bytes of {oci.digest_of(data)}")
    document: dict[str, Any] = json.loads(data)
    if entry.artifact_type == oci.PACKAGES:
        return _packages(contents, entry, document)
    blobs = tuple(
        _blob(contents, Descriptor.parse(blob)) for blob in (document["config"], *document["layers"])
    )
    notes = entry.annotations
    source, module = notes.get(oci.ORIGIN, ""), notes.get(oci.MODULE, "")
    if entry.artifact_type != oci.ARTIFACT:
        name, _, tag = notes[oci.REF_NAME].rpartition(":")
        return Image(name, tag, entry.digest, data, entry.media_type, blobs, entry.platform, source, module)
    file = blobs[1]
    return Artifact(
        name=notes[oci.COMPONENT],
        version=notes[oci.VERSION],
        platform=entry.platform,
        sha256=file.digest.partition(":")[2],
        size=file.size,
        path=file.path,
        title=notes.get(oci.TITLE, ""),
        source=source,
        module=module,
        images=tuple(notes.get(oci.IMAGES, "").split()),
    )


def _packages(contents: Contents, entry: Descriptor, document: dict[str, Any]) -> OsPackages:
    index, *files = [Descriptor.parse(layer) for layer in document["layers"]]
    packages = {}
    for layer in files:
        file, notes = _blob(contents, layer), layer.annotations
        name = notes[oci.PACKAGE]
        packages[name] = OsPackage(
            name=name,
            version=notes[oci.VERSION],
            file=notes[oci.TITLE],
            sha256=layer.digest.partition(":")[2],
            size=layer.size,
            path=file.path,
            needs=tuple(notes.get(oci.NEEDS, "").split()),
        )
    return OsPackages(
        entry.annotations[oci.DISTRIBUTION], entry.platform, _blob(contents, index).path, packages
    )


def _blob(contents: Contents, blob: Descriptor) -> BlobFile:
    piece = contents.blob(blob.digest)
    if piece.size != blob.size:
        raise ValueError(f"{blob.digest} has {piece.size} bytes instead of {blob.size}")
    return BlobFile(blob.digest, blob.size, piece.path, blob.media_type)
