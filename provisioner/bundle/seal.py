"""The digest that index.json carries of itself.

Every blob is named by its digest, the index, which gives components their names, by nothing: without this a byte of it
could change and be read as another name. It proves wholeness; who made it a signature says (signed.py).
"""

from __future__ import annotations

import json
from typing import Any

from provisioner.bundle.oci import digest_of, encode

SEAL = "provision.index"
_PLAIN = frozenset({"schemaVersion", "mediaType", "manifests"})


def sealed(document: dict[str, Any]) -> bytes:
    """The index with its seal: an annotation with the digest of what it is without it."""
    return encode({**document, "annotations": {SEAL: digest_of(encode(document))}})


def is_sealed(index: bytes) -> bool:
    """Whether the index carries a seal; those of releases before it have nothing but what every index has. Raises
    ValueError when it is not that of its content, or another index has none: a changed byte may have hidden it."""
    document = json.loads(index)
    if not isinstance(document, dict) or set(document) <= _PLAIN:
        return False
    notes = document.get("annotations")
    if not isinstance(notes, dict) or SEAL not in notes:
        raise ValueError("has no digest of itself, so that a change of it could not be seen")
    plain = {key: value for key, value in document.items() if key != "annotations"}
    if sealed(plain) != index:
        raise ValueError("was changed since the bundle was made: it is not what its own digest says")
    return True
