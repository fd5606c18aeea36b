"""What came, went and changed from one bundle to another, by their indexes and manifests: no blob is read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from provisioner.bundle.layout import Artifact, Bundle, Image
from provisioner.bundle.packages import OsPackages


@dataclass(frozen=True)
class Part:
    """`kind` is artifact, image or package. `blobs` are the sizes in bytes of what it consists of, by digest."""

    kind: str
    name: str
    version: str
    platform: str
    digest: str
    blobs: Mapping[str, int] = field(default_factory=dict)

    @property
    def size(self) -> int:
        return sum(self.blobs.values())


@dataclass(frozen=True)
class Change:
    before: Part
    after: Part

    @property
    def shared(self) -> int:
        """Bytes that both have."""
        return sum(size for digest, size in self.after.blobs.items() if digest in self.before.blobs)


@dataclass(frozen=True)
class Difference:
    """`fresh` are the bytes of blobs that only the second bundle has: what has to be carried. `same` counts parts."""

    came: tuple[Part, ...]
    went: tuple[Part, ...]
    changed: tuple[Change, ...]
    same: int
    fresh: int

    def __bool__(self) -> bool:
        return bool(self.came or self.went or self.changed)


def difference(before: Bundle, after: Bundle) -> Difference:
    """A part whose name stands in both, once left after those that are the same, has changed."""
    old, new = _by_name(before), _by_name(after)
    came, went, changed, same = [], [], [], 0
    for key in sorted({*old, *new}):
        common = {part.digest for part in old[key]} & {part.digest for part in new[key]}
        left = [part for part in old[key] if part.digest not in common]
        right = [part for part in new[key] if part.digest not in common]
        same += len(new[key]) - len(right)
        pairs = list(zip(left, right, strict=False))
        changed += [Change(*pair) for pair in pairs]
        went += left[len(pairs) :]
        came += right[len(pairs) :]
    had = _blobs(before)
    fresh = sum(size for digest, size in _blobs(after).items() if digest not in had)
    return Difference(tuple(came), tuple(went), tuple(changed), same, fresh)


def parts_of(content: Artifact | Image | OsPackages) -> Iterator[Part]:
    """The artifact or image, or each package of an operating system, whose release belongs to its platform."""
    if isinstance(content, Image):
        blobs = {blob.digest: blob.size for blob in content.blobs}
        yield Part("image", content.name, content.tag, content.platform, content.digest, blobs)
    elif isinstance(content, Artifact):
        digest = f"sha256:{content.sha256}"
        blobs = {digest: content.size}
        yield Part("artifact", content.name, content.version, content.platform, digest, blobs)
    else:
        for each in content.packages.values():
            digest = f"sha256:{each.sha256}"
            platform = f"{content.name} {content.platform}"
            yield Part("package", each.name, each.version, platform, digest, {digest: each.size})


def _by_name(bundle: Bundle) -> defaultdict[tuple[str, str, str], list[Part]]:
    result: defaultdict[tuple[str, str, str], list[Part]] = defaultdict(list)
    for part in sorted(_every(bundle), key=lambda part: (part.version, part.digest)):
        result[part.kind, part.name, part.platform].append(part)
    return result


def _blobs(bundle: Bundle) -> dict[str, int]:
    return {digest: size for part in _every(bundle) for digest, size in part.blobs.items()}


def _every(bundle: Bundle) -> Iterator[Part]:
    for content in bundle.contents:
        yield from parts_of(content)
