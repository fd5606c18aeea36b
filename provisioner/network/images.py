"""Images of upstream manifests come from the private registry."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from provisioner.network.patches import Edit, images_of


def image_edits(upstream: Sequence[dict[str, Any]], image: Callable[[str], str]) -> list[Edit]:
    """One for each place of each image; `image` gives the private reference of an upstream one."""
    return [
        Edit(target, path, private, f"images come from the private registry, {_how(private)}")
        for reference, places in images_of(upstream).items()
        for private in (image(reference),)
        for target, path in places
    ]


def _how(private: str) -> str:
    """An operator's image that the bundle is without has been put in the registry by others, under upstream's tag."""
    return "by digest" if "@" in private else "by tag: the bundle has not this one, others have put it there"
