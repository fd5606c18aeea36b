"""The files of an image: programs, a static busybox, and Debian's programs with the libraries that they
need.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from provisioner.bundle.archive import Entry
from provisioner.bundle.catalogue import Debian, ImageRecipe
from provisioner.bundle.elf import needs
from provisioner.errors import ProvisionError

CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
# Debian's names for its architectures are Go's; the directories of its libraries are GNU's.
_TRIPLETS = {"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}
_MERGED = ("bin", "sbin", "lib", "lib64")
_USERS = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n"
_GROUPS = "root:x:0:\nnogroup:x:65534:\n"
_NAMES = "passwd: files\ngroup: files\nhosts: files dns\n"


def debian_packages(recipe: ImageRecipe) -> tuple[str, ...]:
    """The names of the packages that the image needs files of."""
    extra = (("busybox-static",) if recipe.busybox else ()) + (
        ("ca-certificates",) if recipe.certificates else ()
    )
    return recipe.debian.packages + extra


def entries(
    recipe: ImageRecipe, programs: Mapping[str, Path], trees: Sequence[Path], architecture: str
) -> Iterator[Entry]:
    """`programs` are the built files by package, `trees` the unpacked Debian packages.

    Raises ProvisionError when a program or a library is in no tree.
    """
    for path, package in recipe.programs:
        yield Entry(path, file=programs[package])
    if recipe.busybox or recipe.debian.packages:
        yield from _system()
    if recipe.busybox:
        yield Entry("/usr/bin/busybox", file=_find(trees, "/bin/busybox"))
        yield from (Entry(f"/usr/bin/{name}", link="busybox") for name in recipe.busybox)
    if recipe.certificates:
        yield Entry(CERTIFICATES, data=_certificates(trees), mode=0o644)
    if recipe.debian.packages:
        yield from _debian(recipe.debian, trees, _TRIPLETS[architecture])
    yield from (Entry(path, link=target) for path, target in recipe.links)
    for file in recipe.files:
        yield Entry(file.path, data=file.content.encode(), mode=int(file.mode, 8), owner=file.owner)


def _system() -> Iterator[Entry]:
    """One tree below /usr, as in Debian since 2023: then /bin and /usr/bin cannot differ."""
    for name in _MERGED:
        yield Entry(f"/{name}", link=f"usr/{name}")
        yield Entry(f"/usr/{name}")
    yield Entry("/etc/passwd", data=_USERS.encode(), mode=0o644)
    yield Entry("/etc/group", data=_GROUPS.encode(), mode=0o644)
    yield Entry("/etc/nsswitch.conf", data=_NAMES.encode(), mode=0o644)
    yield Entry("/tmp", mode=0o1777)  # noqa: S108 — a path in the image


def _certificates(trees: Sequence[Path]) -> bytes:
    found = sorted(path for tree in trees for path in tree.glob("usr/share/ca-certificates/mozilla/*.crt"))
    if not found:
        raise ProvisionError("the package ca-certificates has no certificates where Debian keeps them")
    return b"".join(path.read_bytes().rstrip(b"\n") + b"\n" for path in found)


def _debian(wanted: Debian, trees: Sequence[Path], triplet: str) -> Iterator[Entry]:
    directory = f"/usr/lib/{triplet}"
    files = {path: _find(trees, path) for path in wanted.programs}
    for name in wanted.plugins:
        files.update(
            {f"{directory}/{name}/{path.name}": path for path in _plugins(trees, f"{directory}/{name}")}
        )
    loaders = {needs(path).interpreter for path in files.values()} - {""}
    for name in _closure(files.values(), trees, directory):
        files[f"{directory}/{name}"] = _find(trees, f"{directory}/{name}")
    yield from (Entry(path, file=file) for path, file in files.items())
    yield from (Entry(path, link=target) for path, target in wanted.links)
    for loader in loaders:
        # The ABI fixes the loader's path; the file is among the libraries.
        yield Entry(f"/usr{loader}", link=f"{directory}/{Path(loader).name}")


def _closure(roots: Iterable[Path], trees: Sequence[Path], directory: str) -> set[str]:
    """The names of all libraries that the files need, directly or through others."""
    found: set[str] = set()
    waiting = list(roots)
    while waiting:
        for name in needs(waiting.pop()).libraries:
            if name not in found:
                found.add(name)
                waiting.append(_find(trees, f"{directory}/{name}"))
    return found


def _plugins(trees: Sequence[Path], directory: str) -> list[Path]:
    return sorted(path for tree in trees for path in (tree / directory.lstrip("/")).glob("*.so"))


def _find(trees: Sequence[Path], path: str) -> Path:
    """A file of the packages, whether the package has it below /usr or, as before the merge, below /."""
    relative = path.lstrip("/")
    for tree in trees:
        for candidate in (tree / relative, tree / relative.removeprefix("usr/"), tree / "usr" / relative):
            # A link that leaves the tree (Debian's /lib64/ld-linux…) is no file of it.
            if candidate.is_file() and candidate.resolve().is_relative_to(tree.resolve()):
                return candidate
    raise ProvisionError(
        f"none of the image's Debian packages has {path}", "add the package to the catalogue"
    )
