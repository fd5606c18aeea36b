"""The module `preloaded_image`: an image of the bundle in a node's containerd, for a site without a registry.

Its name is the reference by digest under which pods ask for it, so that nothing is pulled: containerd's CRI plug-in
takes up what others import into its namespace, as what they pull (registry/pulled.py). Nobody could bring it again, so
kubelets shall not collect it: containerd 1.7.3 and later tell them so of what has the label (pkg/cri/labels, there
`pinned`), and for 1.6 the kubelets of such a cluster collect no images at all (templates/kubelet/config.yaml.j2).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

from provisioner.bundle.layout import Image
from provisioner.errors import ProvisionError
from provisioner.resources.model import Absent, Change, Present, Resource, State
from provisioner.resources.task import TaskCall
from provisioner.shell.quote import quote
from provisioner.shell.script import Blob, Script

_FOLDER = "/var/lib/provision/preload"
_CTR = "ctr --namespace k8s.io images"
_PINNED = "io.cri-containerd.pinned"
_READ = f"""
if command -v ctr >/dev/null && systemctl is-active --quiet containerd.service; then
  said() {{ ctr --connect-timeout 2s --timeout 20s --namespace k8s.io images list --quiet "$@" 2>/dev/null || :; }}
  said
  echo '=='
  said 'labels."{_PINNED}"==pinned'
fi
"""
_HEAD = """
d={folder}
rm -rf -- "$d"
(umask 077 && mkdir -p -- "$d/blobs/sha256")
"""
# By `tar` and not by a layout's path: that is how ctr takes them in 1.6, 1.7 and 2.x. The name is in the index.
_IMPORT = """
local=
ctr images import --help 2>/dev/null | grep -q -- '--local ' && local=--local
cp -- "$P/index.json" "$P/oci-layout" "$d/"
cp -- "$P/manifest" "$d/blobs/sha256/{manifest}"
tar -C "$d" -cf - oci-layout index.json blobs | {ctr} import $local --snapshotter overlayfs - >"$W/said" 2>&1 || {{
  tail -n 3 "$W/said" >&2
  exit 1
}}
rm -rf -- "$d"
{ctr} list --quiet | grep -Fqx -- {name} || {{
  echo 'ctr has imported the image under another name:' >&2
  cat "$W/said" >&2
  exit 1
}}
"""
_PIN = "{ctr} label {name} {label}=pinned >/dev/null\n"


class PreloadedImageKind:
    """Present(pinned) of an image by its reference with a digest. Nobody's property, as pulled images are."""

    name = "preloaded_image"

    def __init__(self, find: Callable[[str], Image], name: Callable[[Image], str]) -> None:
        """`find` gives the image of an upstream reference or raises ProvisionError; `name` how pods ask for it."""
        self._find = find
        self._name = name

    def build(self, task: TaskCall) -> Sequence[Resource]:
        task.check({"reference": str}, {})
        try:
            image = self._find(str(task.args["reference"]))
        except ProvisionError as fault:
            raise task.error(fault.reason, fault.hint, "reference") from None
        wish = Present({"pinned": True})
        return [Resource(self.name, self._name(image), wish, {"image": image})]

    def probe(self, _resources: Sequence[Resource]) -> Script:
        return Script(_READ)

    def parse(self, output: bytes, resources: Sequence[Resource]) -> Mapping[str, State]:
        there, _, pinned = output.decode(errors="replace").partition("==\n")
        names, kept = set(there.split()), set(pinned.split())
        return {
            each.id: Present({"pinned": each.name in kept}) if each.name in names else Absent()
            for each in resources
        }

    def change(self, change: Change) -> Script:
        name, image = change.resource.name, change.resource.spec["image"]
        pin = _PIN.format(ctr=_CTR, name=quote(name), label=_PINNED)
        if isinstance(change.before, Present):
            return Script(pin)
        blobs = {each.digest.partition(":")[2]: each for each in image.blobs}
        receive = "".join(
            f'receive {each.size} {hexadecimal} "$d/blobs/sha256/{hexadecimal}"\n'
            for hexadecimal, each in blobs.items()
        )
        main = _HEAD.format(folder=_FOLDER) + receive
        main += _IMPORT.format(ctr=_CTR, name=quote(name), manifest=image.digest.partition(":")[2]) + pin
        payload = {
            "manifest": Blob.of(image.manifest),
            "index.json": Blob.of(_index(image, name)),
            "oci-layout": Blob.of(b'{"imageLayoutVersion":"1.0.0"}'),
        }
        streams = tuple(Blob(hexadecimal, each.size, path=each.path) for hexadecimal, each in blobs.items())
        return Script(main, payload, streams)


def _index(image: Image, name: str) -> bytes:
    """Of a layout with this image alone (containerd: images.AnnotationImageName)."""
    entry = {
        "mediaType": image.media_type,
        "digest": image.digest,
        "size": len(image.manifest),
        "annotations": {"io.containerd.image.name": name},
    }
    return json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
