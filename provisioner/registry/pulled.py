"""The module `pulled_image`: an image that a node's containerd has, before a kubelet asks for it.

The kubelet finds it by the same name: containerd's CRI plug-in takes up what others pull into its namespace
(containerd, pkg/cri/server/events.go in 1.6 and 1.7, internal/cri/server/images in 2.x).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from provisioner.resources.model import Absent, Change, Present, Resource, State
from provisioner.resources.task import TaskCall
from provisioner.shell.quote import quote
from provisioner.shell.script import Script

_CTR = "ctr --namespace k8s.io images"
_READ = """
if command -v ctr >/dev/null && systemctl is-active --quiet containerd.service; then
  ctr --connect-timeout 2s --timeout 20s --namespace k8s.io images list --quiet 2>/dev/null || :
fi
"""
"""Nothing where containerd is not there yet, or does not run: then it has to be pulled anyway."""
_PULL = """
# ctr itself asks, as it does in 1.6: containerd's transfer service, which 2.x has otherwise, tells no causes.
local=
ctr images pull --help 2>/dev/null | grep -q -- '--local ' && local=--local
# The registry is the site's own: what the login's environment says of a way out is not for it.
unset http_proxy https_proxy all_proxy no_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY
{limit}{ctr} pull $local --hosts-dir /etc/containerd/certs.d --snapshotter overlayfs {image} >"$W/said" 2>&1 || {{
  # Between the lines that show how far it is.
  grep -E 'level=|^ctr: ' "$W/said" | tail -n 3 >&2 || tail -n 3 "$W/said" >&2
  exit 1
}}
"""


class PulledImageKind:
    """Present of an image by its full reference. It is nobody's property: kubelets collect those that no pod uses."""

    name = "pulled_image"

    def build(self, task: TaskCall) -> Sequence[Resource]:
        task.check({"image": str}, {})
        return [Resource("pulled_image", str(task.args["image"]), Present())]

    def probe(self, _resources: Sequence[Resource]) -> Script:
        return Script(_READ)

    def parse(self, output: bytes, resources: Sequence[Resource]) -> Mapping[str, State]:
        there = set(output.decode(errors="replace").split())
        return {each.id: Present() if each.name in there else Absent() for each in resources}

    def change(self, change: Change) -> Script:
        return Script(pulling(change.resource.name))


def pulling(image: str, seconds: int = 0) -> str:
    """Commands that pull `image`, or print why that failed; with `seconds` no longer than that."""
    limit = f"timeout -k 5 {seconds} " if seconds else ""
    return _PULL.format(limit=limit, ctr=_CTR, image=quote(image))
