"""Bundles and what lies between two of them, as JSON values and as lines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from provisioner.bundle.difference import Change, Difference, Part, parts_of
from provisioner.bundle.layout import Artifact, Bundle, Image
from provisioner.bundle.packages import OsPackages


def bundle_value(bundle: Bundle) -> dict[str, Any]:
    """Everything that the bundle has, in its order; sizes in bytes."""
    contents = [value for content in bundle.contents for value in _values(bundle, content)]
    return {"path": str(bundle.path), "digest": bundle.digest, "contents": contents}


def _values(bundle: Bundle, content: Artifact | Image | OsPackages) -> Iterator[dict[str, Any]]:
    for part in parts_of(content):
        value = _part(part)
        if isinstance(content, Artifact | Image):
            value |= {"source": content.source, "module": content.module}
        if isinstance(content, Artifact):
            value |= {"title": content.title, "lacks": list(bundle.lacking(content))}
        if isinstance(content, Image):
            value["layers"] = [
                {"digest": blob.digest, "size": blob.size, "media_type": blob.media_type}
                for blob in content.blobs[1:]
            ]
        yield value


def difference_value(found: Difference) -> dict[str, Any]:
    return {
        "came": [_part(part) for part in found.came],
        "went": [_part(part) for part in found.went],
        "changed": [
            {"before": _part(each.before), "after": _part(each.after), "shared": each.shared}
            for each in found.changed
        ],
        "same": found.same,
        "fresh": found.fresh,
    }


def difference_lines(found: Difference) -> Iterator[str]:
    """As diff(1) marks them, and what it comes to."""
    for part in found.went:
        yield f"- {_line(part)}"
    for part in found.came:
        yield f"+ {_line(part)}"
    for change in found.changed:
        yield f"~ {_changed(change)}"
    yield (
        f"{len(found.came)} came, {len(found.went)} went, {len(found.changed)} changed, {found.same} are the same; "
        f"{_size(found.fresh)} are new"
    )


def _part(part: Part) -> dict[str, Any]:
    names = ("kind", "name", "version", "platform", "digest", "size")
    return {name: getattr(part, name) for name in names}


def _line(part: Part) -> str:
    return f"{part.kind} {part.name} {part.version}  {part.platform}  {_size(part.size)}  {part.digest[:19]}"


def _changed(change: Change) -> str:
    before, after = change.before, change.after
    versions = before.version if before.version == after.version else f"{before.version} -> {after.version}"
    shared = f", {_size(change.shared)} in layers that both have" if change.shared else ""
    sizes = f"{_size(before.size)} -> {_size(after.size)}{shared}"
    digests = f"{before.digest[:19]} -> {after.digest[:19]}"
    return f"{after.kind} {after.name} {versions}  {after.platform}  {sizes}  {digests}"


def _size(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
