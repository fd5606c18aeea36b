"""Files out of Debian packages, fetched by the machine's own apt."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from provisioner.bundle.oci import digest_of, encode
from provisioner.bundle.store import Store, hash_file, write_atomically
from provisioner.errors import ProvisionError

# A change below these is a new list of packages or other sources.
_APT_STATE = (
    "/var/lib/apt/lists",
    "/etc/apt",
    "/etc/apt/sources.list",
    "/etc/apt/sources.list.d",
    "/etc/apt/preferences.d",
)
_TOOLS_HINT = (
    "images are made with Debian's packages: build the bundle on Debian or Ubuntu, or use --source release"
)


@dataclass(frozen=True)
class Package:
    """A package at the version that apt would install. `sha256` is apt's, covered by the archive's
    signature.
    """

    name: str
    version: str
    sha256: str


def resolve(names: Sequence[str], architecture: str, store: Store) -> tuple[Package, ...]:
    """Ask apt for the candidates; answered from the cache while apt's lists are the same (apt needs a
    second).
    """
    stamp = digest_of(encode([list(names), architecture, list(apt_stamps())]))[7:]
    cached = store.root / "apt" / f"{stamp}.json"
    try:
        return tuple(Package(**fields) for fields in json.loads(cached.read_bytes()))
    except (FileNotFoundError, ValueError, TypeError):
        found = tuple(_candidates(names, architecture))
    write_atomically(cached, encode([asdict(package) for package in found]))
    return found


def unpack(package: Package, architecture: str, store: Store) -> Path:
    """The tree of the package's files, downloaded, checked and extracted if it is not there yet."""
    tree = store.root / "debian" / f"{package.name}_{package.sha256[:32]}"
    if tree.is_dir():
        return tree
    with store.workspace() as workspace:
        run(["apt-get", "-q", "download", f"{package.name}:{architecture}={package.version}"], workspace)
        archive = next(workspace.glob("*.deb"))
        digest, _size = hash_file(archive)
        if digest != f"sha256:{package.sha256}":
            raise ProvisionError(
                f"{archive.name} has {digest}, apt's list says sha256:{package.sha256}", "apt-get update"
            )
        run(["dpkg-deb", "-x", archive.name, "tree"], workspace)
        tree.parent.mkdir(parents=True, exist_ok=True)
        (workspace / "tree").rename(tree)
    return tree


def apt_stamps() -> Iterator[int]:
    for path in _APT_STATE:
        try:
            yield Path(path).stat().st_mtime_ns
        except FileNotFoundError:
            yield 0


def _candidates(names: Sequence[str], architecture: str) -> Iterator[Package]:
    output = run(["apt-cache", "show", "--no-all-versions", *(f"{name}:{architecture}" for name in names)])
    found = {package.name: package for package in _parse(output)}
    for name in names:
        if name not in found:
            raise ProvisionError(f"apt knows no download for the package {name}", "apt-get update")
        yield found[name]


def _parse(output: str) -> Iterator[Package]:
    for paragraph in output.split("\n\n"):
        lines: Iterable[list[str]] = (
            line.split(": ", 1) for line in paragraph.splitlines() if not line.startswith(" ")
        )
        fields = {pair[0]: pair[1] for pair in lines if len(pair) == 2}
        if "SHA256" in fields:
            yield Package(fields["Package"], fields["Version"], fields["SHA256"])


def run(command: list[str], directory: Path | None = None) -> str:
    try:
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise ProvisionError(f"`{command[0]}` is not installed", _TOOLS_HINT) from None
    if done.returncode:
        tail = "\n".join(f"  {line}" for line in done.stderr.splitlines()[-8:])
        raise ProvisionError(
            f"{' '.join(command)} ended with {done.returncode}:\n{tail}", "apt-get update may help"
        )
    return done.stdout
