"""`bundle push` and `bundle diff` with a registry: which images, to which registry, as whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from provisioner.bundle.layout import Bundle, default_bundle_path
from provisioner.engine.events import Emit
from provisioner.errors import InputError, Problem
from provisioner.inventory.secrets import Secret
from provisioner.registry.client import Registry
from provisioner.registry.compare import Compared, compare
from provisioner.registry.placing import NamedImage, placed
from provisioner.registry.push import push_all
from provisioner.registry.target import Target


@dataclass(frozen=True)
class Access:
    """`ca` is a file in PEM (None: the system's authorities), `address` where the registry's name is, if not by DNS."""

    target: Target
    ca: Path | None = None
    address: str | None = None
    username: str | None = None
    password: Secret | None = None

    def open(self) -> Registry:
        """Raises InputError when the password or the authority cannot be had."""
        if self.username and self.password is None:
            hint = "--password-file FILE or --password-command COMMAND"
            raise InputError([Problem("--username", 0, 0, f"{self.username} has no password", hint)])
        return Registry(
            self.target.host,
            self.target.port,
            ca_pem=_read(self.ca),
            address=self.address,
            username=self.username,
            password=self.password.reveal() if self.password else None,
        )


def push(paths: Sequence[Path], wanted: Sequence[str], access: Access, emit: Emit) -> None:
    """Raises InputError, and ProvisionError as the registry does."""
    images = placed(images_of(paths, wanted, emit), access.target.project)
    with access.open() as registry:
        push_all(registry, images, emit)


def compared(path: Path | None, wanted: Sequence[str], access: Access, emit: Emit) -> list[Compared]:
    """Raises as `push`."""
    images = placed(images_of([path] if path else [], wanted, emit), access.target.project)
    with access.open() as registry:
        return compare(registry, images)


def images_of(paths: Sequence[Path], wanted: Sequence[str], emit: Emit) -> list[NamedImage]:
    """All images of bundles (none named: the last one built), or those whose references are `wanted`.

    Raises InputError when one of these is nowhere.
    """
    found = [image for path in paths or [default_bundle_path()] for image in _within(path, emit)]
    known = {image.reference for image in found}
    unknown = [Problem("--image", 0, 0, f"there is no image {name}", _near(name, known)) for name in wanted]
    problems = [problem for problem, name in zip(unknown, wanted, strict=True) if name not in known]
    if problems:
        raise InputError(problems)
    if not found:
        raise InputError([Problem(str(path), 0, 0, "has no images") for path in paths])
    return [image for image in found if not wanted or image.reference in wanted]


def _within(path: Path, _emit: Emit) -> Sequence[NamedImage]:
    # INGEST: a file that is no bundle goes to bundle.ingest here, which makes such images of it in the store.
    return Bundle.open(path).images()


def _near(name: str, known: set[str]) -> str:
    from provisioner.inventory.words import nearest

    near = nearest(name, sorted(known))
    return f"did you mean {near}?" if near else "`provision bundle inspect` lists them"


def _read(ca: Path | None) -> bytes | None:
    try:
        return None if ca is None else ca.read_bytes()
    except OSError as error:
        raise InputError([Problem(str(ca), 0, 0, f"cannot be read: {error.strerror}")]) from None
