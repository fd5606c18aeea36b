"""A set of images into a registry, with what became of each."""

from __future__ import annotations

import time
from collections.abc import Sequence

from provisioner.engine.events import Emit, ImagePushed, PushEnded
from provisioner.registry.client import PushResult, Registry, taken
from provisioner.registry.compare import OTHER, SAME, compare
from provisioner.registry.index import Index
from provisioner.registry.placing import Placed


def push_all(registry: Registry, images: Sequence[Placed], emit: Emit, *, move: bool = False) -> PushEnded:
    """In their order; layers that several repositories share are mounted. Raises as `Registry.push`.

    Without `move` ConsentError names every tag that has another image there, and nothing is sent. What arrived before
    a failure stays: the next push does not send it again.
    """
    began, results = time.monotonic(), []
    found = compare(registry, images)
    others = [(each.where, each.there, each.digest) for each in found if each.state == OTHER]
    if others and not move:
        raise taken(others)
    for each, state in zip(images, found, strict=True):
        start = time.monotonic()
        result = _held(registry, each) if state.state == SAME else _push(registry, each, emit, move=move)
        results.append(result)
        emit(
            ImagePushed(
                reference=each.reference,
                where=state.where,
                digest=each.image.digest,
                seconds=time.monotonic() - start,
                changed=result.tagged,
                before=result.before,
                **_counts(result),
            )
        )
    ended = PushEnded(
        registry=registry.authority,
        images=len(images),
        changed=sum(each.tagged for each in results),
        moved=sum(bool(each.before) for each in results),
        seconds=time.monotonic() - began,
        **_counts(sum(results, PushResult())),
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


def _push(registry: Registry, each: Placed, emit: Emit, *, move: bool) -> PushResult:
    if isinstance(each.image, Index):
        return registry.push_index(each.image, each.repository, each.tag, emit, move=move)
    return registry.push(each.image, each.repository, each.tag, emit, move=move)


def _held(registry: Registry, each: Placed) -> PushResult:
    images = each.image.children if isinstance(each.image, Index) else (each.image,)
    return registry.held(images, each.repository)
