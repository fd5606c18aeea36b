"""Makes a bundle's packages of an operating system: from the machine's Debian mirror, with all that they depend on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from provisioner.bundle import oci
from provisioner.bundle.apt import Apt, Paragraph, paragraph
from provisioner.bundle.catalogue import Distribution
from provisioner.bundle.debian import apt_stamps
from provisioner.bundle.oci import Descriptor, digest_of, encode
from provisioner.bundle.store import Finished, Store, hash_file, write_atomically
from provisioner.engine.events import Emit, Note, Progress
from provisioner.errors import ProvisionError

# Count up when the same packages give another result.
_FORMAT = 1


@dataclass(frozen=True)
class Resolved:
    """What a distribution's packages are today: the paragraph of each, and by wanted package what it needs."""

    paragraphs: Mapping[str, Paragraph]
    needs: Mapping[str, Sequence[str]]

    def key(self, distribution: Distribution) -> str:
        return digest_of(encode([_FORMAT, "packages", asdict(distribution), asdict(self)]))[7:]


def resolve(distribution: Distribution, store: Store, emit: Emit, etc: Path = Path("/etc/apt")) -> Resolved:
    """Ask the archive, through apt; answered from the cache until the machine's own lists are fetched anew.

    An archive that cannot be asked leaves the packages as they were the last time. Raises ProvisionError when there is
    no such time.
    """
    stamp = digest_of(encode([_FORMAT, asdict(distribution), str(etc), list(apt_stamps())]))[7:]
    cached = store.root / "apt" / f"{stamp}.json"
    known = _read(cached)
    if known is not None:
        return known
    emit(Progress(task="bundle", subject=f"the package lists of {distribution.name}"))
    last = store.root / "apt" / f"{distribution.name}-{distribution.architecture}.json"
    try:
        found = _ask(distribution, _apt(distribution, store), etc)
    except ProvisionError as fault:
        before = _read(last)
        if before is None or not set(distribution.packages) <= set(before.needs):
            raise
        said = f"{distribution.name}: its packages stay as they were: {fault.reason}"
        emit(Note(level="warning", message=said, hint=fault.hint))
        return before
    for path in (cached, last):
        write_atomically(path, encode(asdict(found)))
    return found


def _read(path: Path) -> Resolved | None:
    try:
        return Resolved(**json.loads(path.read_bytes()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def make(distribution: Distribution, resolved: Resolved, store: Store, emit: Emit) -> Finished:
    """Fetch what the store does not have, and store the list beside it. Raises ProvisionError."""
    blobs = {name: _blob(fields) for name, fields in resolved.paragraphs.items()}
    absent = {
        name: resolved.paragraphs[name]["Version"] for name, blob in blobs.items() if not store.has(blob)
    }
    if absent:
        size = sum(blobs[name].size for name in absent) / 1e6
        emit(Progress(task="bundle", subject=f"{len(absent)} packages of {distribution.name}, {size:.0f} MB"))
        _fetch(_apt(distribution, store), absent, blobs, store)
    files = {}
    for name, fields in sorted(resolved.paragraphs.items()):
        notes = {
            oci.TITLE: _file_name(fields),
            oci.PACKAGE: name,
            oci.VERSION: fields["Version"],
            oci.DISTRIBUTION: distribution.name,
        }
        if name in resolved.needs:
            notes[oci.NEEDS] = " ".join(resolved.needs[name])
        files[name] = replace(blobs[name], annotations=notes)
    return _publish(distribution, resolved, files, store)


def _apt(distribution: Distribution, store: Store) -> Apt:
    root = store.root / "archives" / f"{distribution.suite}-{distribution.architecture}"
    return Apt(root, distribution.suite, distribution.architecture)


def _ask(distribution: Distribution, apt: Apt, etc: Path) -> Resolved:
    apt.update(etc)
    every = apt.paragraphs()
    unknown = [name for name in distribution.packages if name not in every]
    if unknown:
        raise ProvisionError(f"the archive of {distribution.suite} has no package {', '.join(unknown)}")
    apt.base(every)
    needs = {name: sorted(apt.needs([name])) or [name] for name in distribution.packages}
    wanted = {need for each in needs.values() for need in each}
    paragraphs = {
        name: {**every[name], "Filename": f"./{_file_name(every[name])}"} for name in sorted(wanted)
    }
    return Resolved(paragraphs, needs)


def _file_name(fields: Paragraph) -> str:
    """As the archive has it: without the version's epoch."""
    version = fields["Version"].rpartition(":")[2]
    return f"{fields['Package']}_{version}_{fields['Architecture']}.deb"


def _blob(fields: Paragraph) -> Descriptor:
    return Descriptor(oci.DEB, f"sha256:{fields['SHA256']}", int(fields["Size"]))


def _fetch(apt: Apt, versions: Mapping[str, str], blobs: Mapping[str, Descriptor], store: Store) -> None:
    """Files that a killed build had fetched are not fetched again."""
    folder = apt.root / "files"
    apt.download(versions, folder)
    wanted = {blobs[name].digest for name in versions}
    for path in sorted(folder.glob("*.deb")):
        if hash_file(path)[0] in wanted:
            wanted.discard(store.add_file(path, oci.DEB).digest)
    shutil.rmtree(folder)
    if wanted:
        lacking = ", ".join(name for name in versions if blobs[name].digest in wanted)
        raise ProvisionError(f"apt did not fetch what its list says of {lacking}", "apt-get update")


def _publish(
    distribution: Distribution, resolved: Resolved, files: Mapping[str, Descriptor], store: Store
) -> Finished:
    text = "\n".join(paragraph(resolved.paragraphs[name]) for name in files)
    index = replace(store.add_bytes(text.encode(), oci.FILE), annotations={oci.TITLE: "Packages"})
    notes = {
        oci.TITLE: distribution.name,
        oci.VERSION: distribution.release,
        oci.COMPONENT: f"packages-{distribution.name}",
        oci.DISTRIBUTION: distribution.name,
        oci.ORIGIN: "archive",
    }
    blobs = [index, *files.values()]
    config = store.add_bytes(oci.EMPTY_CONFIG, oci.EMPTY)
    manifest = store.add_bytes(oci.manifest(config, blobs, notes, oci.PACKAGES), oci.MANIFEST)
    named = {oci.REF_NAME: f"packages:{distribution.name}", **notes}
    entry = replace(manifest, annotations=named, platform=distribution.platform, artifact_type=oci.PACKAGES)
    return Finished(entry, (manifest, config, *blobs))
