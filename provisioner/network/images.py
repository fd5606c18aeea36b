"""Images of upstream manifests come from the private registry."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from provisioner.network.patches import Edit, images_of


def image_edits(upstream: Sequence[dict[str, Any]], image: Callable[[str], str]) -> list[Edit]:
    """One for each place of each image; `image` gives the private reference of an upstream one."""
    return [
        Edit(target, path, image(reference), "images come from the private registry, by digest")
        for reference, places in images_of(upstream).items()
        for target, path in places
    ]
