"""A set of images into a registry, with what became of each."""

from __future__ import annotations

import time
from collections.abc import Sequence

from provisioner.engine.events import Emit, ImagePushed, PushEnded
from provisioner.registry.client import PushResult, Registry
from provisioner.registry.index import Index
from provisioner.registry.placing import Placed


def push_all(registry: Registry, images: Sequence[Placed], emit: Emit) -> PushEnded:
    """In their order; layers that several repositories share are mounted. Raises as `Registry.push`.

    What arrived before a failure stays: the next push does not send it again.
    """
    began, total, changed = time.monotonic(), PushResult(), 0
    for each in images:
        start = time.monotonic()
        result = _push(registry, each, emit)
        total += result
        changed += bool(result.blobs_sent or result.mounted)
        where = f"{registry.authority}/{each.where}"
        counts, seconds = _counts(result), time.monotonic() - start
        emit(
            ImagePushed(
                reference=each.reference, where=where, digest=each.image.digest, seconds=seconds, **counts
            )
        )
    counts, seconds = _counts(total), time.monotonic() - began
    ended = PushEnded(
        registry=registry.authority, images=len(images), changed=changed, seconds=seconds, **counts
    )
    emit(ended)
    return ended


def _counts(result: PushResult) -> dict[str, int]:
    return {
        "sent": result.blobs_sent,
        "mounted": result.mounted,
        "skipped": result.skipped,
        "bytes": result.bytes_sent,
    }


def _push(registry: Registry, each: Placed, emit: Emit) -> PushResult:
    if isinstance(each.image, Index):
        return registry.push_index(each.image, each.repository, each.tag, emit)
    return registry.push(each.image, each.repository, each.tag, emit)
