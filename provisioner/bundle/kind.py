"""The module `artifact`: a file of the bundle on a host, compared by its stamp; an archive is unpacked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from provisioner.bundle.layout import Artifact, Bundle
from provisioner.errors import ProvisionError
from provisioner.resources.archive import file_members, unpacked
from provisioner.resources.model import LEFT_OVER, Absent, Change, Owned, Present, Resource, State
from provisioner.resources.paths import put_blob
from provisioner.resources.stamps import READ, parse_stamps
from provisioner.resources.task import TaskCall
from provisioner.shell.quote import quote, words
from provisioner.shell.script import Blob, Script


class ArtifactKind:
    """Present(sha256, mode) of an installed file of the bundle.

    A file that was touched since its installation has the sha256 "changed", without being hashed.
    """

    name = "artifact"
    ours = ("sha256",)

    def __init__(self, bundle: Bundle, platforms: Mapping[str, str], *, deep: bool = False) -> None:
        """`platforms` by host ("linux/amd64"), from facts. `deep` hashes the files instead of trusting stamps."""
        self._bundle = bundle
        self._deep = deep
        self._platforms = platforms

    def build(self, task: TaskCall) -> Sequence[Resource]:
        task.check({"name": str, "dest": str}, {"version": str, "mode": (str, int), "unpack": bool})
        version = task.args.get("version")
        try:
            artifact = self._bundle.artifact(
                str(task.args["name"]), self._platforms[task.host], None if version is None else str(version)
            )
        except ProvisionError as fault:
            raise task.error(fault.reason, fault.hint, "name") from None
        path, blob = task.path("dest"), _blob(artifact)
        if task.args.get("unpack"):
            members = file_members(artifact.path, artifact.path.stat().st_mtime_ns)
            return [unpacked(artifact.name, blob, path, members, "root:root", deep=self._deep)]
        attrs = {"sha256": artifact.sha256, "mode": task.mode("0755")}
        return [Resource("artifact", path, Present(attrs), {"blob": blob}, writes=(path,))]

    def probe(self, resources: Sequence[Resource]) -> Script:
        paths = words(each.name for each in resources)
        read = f"sha256sum -- {paths} 2>/dev/null\n" if self._deep else READ
        return Script(read + f"echo '=='\nstat -c '%a %n' -- {paths} 2>/dev/null || :\n")

    def parse(self, output: bytes, resources: Sequence[Resource]) -> Mapping[str, State]:
        stamps, _, stats = output.partition(b"==\n")
        digests = parse_stamps(stamps)
        modes = {
            path: mode for mode, _, path in (line.partition(" ") for line in stats.decode().splitlines())
        }
        return {
            each.id: Present({"sha256": digests.get(each.name, "changed"), "mode": modes[each.name]})
            if each.name in modes
            else Absent()
            for each in resources
        }

    def change(self, change: Change) -> Script:
        resource = change.resource
        if not isinstance(resource.desired, Present):
            return Script(f"rm -f -- {quote(resource.name)}\n")
        if LEFT_OVER in resource.spec:
            return Script(f"put_back {quote(resource.name)}\n")
        mode = str(resource.desired.attrs["mode"])
        install = put_blob(resource.spec["blob"], resource.name, mode, "root", "root")
        head = f'mkdir -p -- "$(dirname -- {quote(resource.name)})"\n'
        aside = f"displace {quote(resource.name)}\n" if change.foreign else ""
        tail = f"stamp {quote(resource.name)} {resource.desired.attrs['sha256']}\n"
        return Script(head + aside + install.main + tail, install.payload, install.streams)

    def gone(self, owned: Owned) -> Resource | None:
        """Absent, or the original that was moved aside."""
        return owned.wish(Present(owned.before) if owned.before else Absent())


def _blob(artifact: Artifact) -> Blob:
    return Blob(artifact.sha256, artifact.size, path=artifact.path)
