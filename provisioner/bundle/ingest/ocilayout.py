"""Images of an OCI image layout (image-spec 1.1), also the one within an archive of Docker 25 or newer.

A manifest whose layers are all compressed is kept byte for byte, so that its digest stays its publisher's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from provisioner.bundle import oci
from provisioner.bundle.ingest import documents, images
from provisioner.bundle.ingest.dockerarchive import finished
from provisioner.bundle.ingest.images import Config, TakenImage
from provisioner.bundle.ingest.layers import Intake, Wanted, take_layer
from provisioner.bundle.ingest.limits import refusal, shown
from provisioner.bundle.ingest.plain import compression_of
from provisioner.bundle.ingest.tree import Tree
from provisioner.bundle.oci import Descriptor
from provisioner.engine.events import Note
from provisioner.errors import ProvisionError

INDEX, LAYOUT = "index.json", "oci-layout"
_INDEXES, _MANIFESTS = (oci.INDEX, oci.DOCKER_INDEX), (oci.MANIFEST, oci.DOCKER_MANIFEST)
_CONFIGS = (oci.CONFIG, "application/vnd.docker.container.image.v1+json")
# What containerd and docker write beside the tag that the specification knows: the whole name.
_WHOLE_NAME = "io.containerd.image.name"
_DEEPEST, _MOST = 8, 10_000


@dataclass
class _Walk:
    """Manifests by their digests, with the names that were seen for them."""

    tree: Tree
    intake: Intake
    platforms: Sequence[str]
    manifests: dict[str, Descriptor] = field(default_factory=dict)
    names: dict[str, list[str]] = field(default_factory=dict)
    steps: int = 0

    def index(self, data: bytes, file: str, names: Sequence[str], depth: int) -> None:
        raw = documents.mapping(documents.parse(data, file), file, "it")
        entries = documents.sequence(raw.get("manifests"), file, "manifests")
        for number, each in enumerate(entries):
            entry = documents.descriptor(each, file, f"manifests[{number}]")
            self.entry(entry, file, [*names, *_names(entry)], depth)

    def entry(self, entry: Descriptor, file: str, names: Sequence[str], depth: int) -> None:
        self.steps += 1
        if depth > _DEEPEST or self.steps > _MOST:
            raise refusal(file, "leads to more indexes and manifests than any image has")
        if entry.media_type in _INDEXES:
            self.index(blob_bytes(self.tree, entry, self.intake), blob_name(entry), names, depth + 1)
        elif entry.media_type not in _MANIFESTS:
            raise refusal(file, f"lists {entry.digest}, which is {shown(entry.media_type)}, no image")
        elif not entry.platform or entry.platform in self.platforms:
            self.manifests[entry.digest] = entry
            self.names.setdefault(entry.digest, []).extend(names)
        elif depth == 0:
            said = ", ".join(names) or entry.digest
            self.intake.emit(
                Note(
                    level="warning",
                    message=f"{self.intake.subject}: {shown(said)} is for {shown(entry.platform)}; it is left out",
                )
            )


def _names(entry: Descriptor) -> list[str]:
    """Whole names only: a tag alone says nothing of which image it is."""
    found = [entry.annotations.get(_WHOLE_NAME, ""), entry.annotations.get(oci.REF_NAME, "")]
    return [name for name in found if ":" in name.rpartition("/")[2] and "@" not in name][:1]


def blob_name(blob: Descriptor) -> str:
    """Where a layout has it."""
    return "blobs/" + blob.digest.replace(":", "/")


def blob_bytes(tree: Tree, blob: Descriptor, intake: Intake) -> bytes:
    """A document of the layout. Raises ProvisionError when it is not what its digest says."""
    data = documents.read_bytes(tree, blob_name(blob), intake.limits)
    if (oci.digest_of(data), len(data)) != (blob.digest, blob.size):
        reason = (
            f"has {oci.digest_of(data)} and {len(data)} bytes, where {blob.digest} and {blob.size} are stated"
        )
        raise refusal(blob_name(blob), reason)
    return data


def take(
    tree: Tree, platforms: Sequence[str], intake: Intake, tags: Mapping[str, Sequence[str]]
) -> Iterator[TakenImage]:
    """Bring the images for the platforms into the store. `tags` are names that are known from elsewhere, by the digest
    of the config. Raises ProvisionError naming the blob that is not as it is said to be."""
    walk = _Walk(tree, intake, platforms)
    walk.index(documents.read_bytes(tree, INDEX, intake.limits), INDEX, (), 0)
    for digest, entry in walk.manifests.items():
        yield from _image(entry, walk.names[digest], walk, tags)


def _image(
    entry: Descriptor, names: Sequence[str], walk: _Walk, tags: Mapping[str, Sequence[str]]
) -> Iterator[TakenImage]:
    intake, file = walk.intake, blob_name(entry)
    data = blob_bytes(walk.tree, entry, intake)
    raw = documents.mapping(documents.parse(data, file), file, "it")
    about = documents.descriptor(raw.get("config"), file, "config")
    layers = [
        documents.descriptor(each, file, f"layers[{number}]")
        for number, each in enumerate(documents.sequence(raw.get("layers"), file, "layers"))
    ]
    if about.media_type not in _CONFIGS or "artifactType" in raw:
        said = f"{intake.subject}: {shown(', '.join(names) or entry.digest)} is no image of containers; it is left out"
        return intake.emit(Note(level="warning", message=said))
    config = images.read_config(blob_bytes(walk.tree, about, intake), blob_name(about))
    images.check_count(config, layers, file)
    written = tags.get(config.digest) or names
    if not images.fits(config, walk.platforms, ", ".join(written) or config.digest, intake):
        return None
    whole = images.named(written, config.digest, file, intake)
    taken = _layers(config, layers, walk)
    if [each.digest for each in taken] != [each.digest for each in layers]:
        yield from finished(whole, config, taken, intake)
        return None
    yield from _as_published(whole, config, (entry, data), (about, *taken), intake)
    return None


def _layers(config: Config, layers: Sequence[Descriptor], walk: _Walk) -> list[Descriptor]:
    taken = []
    for layer, diff_id in zip(layers, config.diff_ids, strict=True):
        name = blob_name(layer)
        form, stated = compression_of(walk.tree.open(name).read(6)), layer.media_type
        wanted = next((each for each in ("gzip", "zstd") if stated.endswith(each)), form)
        if wanted != form:
            raise refusal(name, f"is no {wanted}, where its manifest says {shown(stated)}")
        taken.append(take_layer(Wanted(name, diff_id, layer), walk.tree, walk.intake))
    return taken


def _as_published(
    names: Sequence[str],
    config: Config,
    manifest: tuple[Descriptor, bytes],
    blobs: Sequence[Descriptor],
    intake: Intake,
) -> Iterator[TakenImage]:
    entry, data = manifest
    kept = intake.store.add_bytes(data, entry.media_type)
    intake.store.add_bytes(config.data, blobs[0].media_type)
    for name in names:
        yield TakenImage(name, config.digest, config.platform, kept, tuple(blobs), published=True)


def is_layout(tree: Tree) -> bool:
    """Whether this is an OCI image layout."""
    try:
        return tree.size(INDEX) > 0 and tree.size(LAYOUT) > 0
    except ProvisionError:
        return False
