"""Which releases of the plug-ins a bundle brings: what they want of kernels is advice as it is a check."""

from __future__ import annotations

from pathlib import Path

from provisioner.bundle import catalogue
from provisioner.bundle.layout import default_bundle_path
from provisioner.bundle.open import read_bundle
from provisioner.errors import ProvisionError
from provisioner.network.combinations import Version, releases_of
from provisioner.network.site import version_of


def releases_in(path: str | None) -> dict[str, Version]:
    """Of the bundle at the spec's `path`, else of the last one built; of what is not in it those that a build would
    bring. Where there is no bundle, or a broken one, that is told when something is to be done with it."""
    try:
        bundle = read_bundle(Path(path) if path else default_bundle_path())
        there = releases_of([each.reference for each in bundle.images()])
    except ProvisionError:
        there = {}
    return _built() | there


def _built() -> dict[str, Version]:
    versions = {each.name: version_of(each.version.removeprefix("v")) for each in catalogue.load()}
    return {name: versions[name] or (0, 0) for name in ("flannel", "calico", "cilium") if name in versions}
