"""Names of images as people write them, made whole: docker's "calico/node:v3.28.1" is docker.io/calico/node:v3.28.1."""

from __future__ import annotations

import re

from provisioner.bundle.ingest.limits import refusal

# The grammar of github.com/distribution/reference.
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\])(?::[0-9]+)?"
_REFERENCE = re.compile(
    rf"(?:(?P<host>{_HOST})/)?(?P<path>{_PART}(?:/{_PART})*):(?P<tag>\w[\w.-]{{0,127}})", re.ASCII
)
_LONGEST = 255


def full_name(written: str, file: str) -> str:
    """`host/path:tag`. Raises ProvisionError, with the `file` that says so, when it is no name of an image."""
    host, slash, _ = written.partition("/")
    if not (slash and ({".", ":"} & set(host) or host == "localhost")):
        written = f"docker.io/{written}" if slash else f"docker.io/library/{written}"
    written = re.sub(r"^(index|registry-1)\.docker\.io/", "docker.io/", written)
    if len(written) > _LONGEST or not _REFERENCE.fullmatch(written):
        raise refusal(file, f"{written[:_LONGEST]!r} is no name of an image")
    return written


def without_name(image_id: str) -> str:
    """The name of an image that has none: by its ID, which is the digest of its config."""
    return f"localhost/image:{image_id.replace(':', '-')}"
