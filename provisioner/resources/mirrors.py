"""The module `migrated_mirrors`: what a config.toml of others says of registries goes to hosts.toml files beside ours.

It comes before our own config.toml takes that one's place: containerd's CRI plug-in does not load with `mirrors` beside
`config_path`. Files that are there stay as they are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from provisioner.errors import ProvisionError
from provisioner.resources.model import Absent, Change, Present, Resource, Runner, State
from provisioner.resources.oldmirrors import OldMirrors, old_mirrors
from provisioner.resources.printed import sections
from provisioner.resources.task import TaskCall
from provisioner.shell.assemble import StepRecord, change_script, parse_probes, parse_steps, probe_script
from provisioner.shell.quote import quote
from provisioner.shell.script import Blob, Script

_READ = """for f in %(folder)s/*/hosts.toml; do
  if [ -e "$f" ] || [ -L "$f" ]; then
    f=${f%%/*}
    echo "${f##*/}"
  fi
done
echo '=='
[ ! -f %(config)s ] || cat -- %(config)s
echo
"""
_DEADLINE = 60.0
CARRIED = "/var/lib/provision/carried-mirrors"
"""Where a host remembers these files, `SHA256 PATH` a line; they are not owned, since no stage wants them. Without the
cluster the host's own configuration comes back, which says the same: so they go."""


class MigratedMirrorsKind:
    """Present(registries, left) of a configuration whose mirrors are still to be carried over, else Absent. `but` those
    registries, which have files of ours."""

    name = "migrated_mirrors"

    def build(self, task: TaskCall) -> Sequence[Resource]:
        task.check({"config": str, "folder": str}, {"but": list})
        but = frozenset(str(each) for each in task.args.get("but") or ())
        spec = {"folder": task.path("folder"), "but": but}
        return [Resource("migrated_mirrors", task.path("config"), Absent(), spec)]

    def probe(self, resources: Sequence[Resource]) -> Script:
        return Script("echo '=='\n".join(_reading(each) for each in resources))

    def parse(self, output: bytes, resources: Sequence[Resource]) -> Mapping[str, State]:
        parts = sections(output, 2 * len(resources))
        return {
            each.id: _state(*_left_to_do(each, *parts[2 * at : 2 * at + 2]))
            for at, each in enumerate(resources)
        }

    def conduct(self, changes: Sequence[Change], runner: Runner) -> None:
        """Reads again, because no plan carries accounts, and writes."""
        for change in changes:
            answer = parse_probes(runner.run(probe_script([self.probe([change.resource])])).stdout).get(0)
            if answer is None or answer.status != 0:
                raise ProvisionError(f"{runner.host}: {change.resource.name} could not be read")
            found, names = _left_to_do(change.resource, *sections(answer.stdout, 2))
            script = change_script([_writing(change.resource, found, names)], [_record(change, names)], [])
            result = runner.run(script, deadline=_DEADLINE)
            if not parse_steps(result.stdout).ok:
                said = result.stderr.decode(errors="replace").strip()[-400:]
                raise ProvisionError(f"{runner.host}: mirrors could not be carried over: {said}")


def _reading(resource: Resource) -> str:
    return _READ % {"config": quote(resource.name), "folder": quote(resource.spec["folder"])}


def _left_to_do(
    resource: Resource, there: Sequence[str], config: Sequence[str]
) -> tuple[OldMirrors, tuple[str, ...]]:
    """What the configuration says, and the registries of it that have no file."""
    found = old_mirrors("\n".join(config))
    have = {*there, *resource.spec["but"]}
    return found, tuple(name for name in found.files if name not in have)


def _state(found: OldMirrors, names: tuple[str, ...]) -> State:
    return Present({"registries": names, "left": found.left}) if names else Absent()


def _writing(resource: Resource, found: OldMirrors, names: Sequence[str]) -> Script:
    lines, payload = [], {}
    for at, name in enumerate(names):
        folder = f"{resource.spec['folder']}/{name}"
        secret = name in found.secret
        payload[f"file{at}"] = Blob.of(found.files[name].encode(), secret=secret)
        lines.append(
            f'(umask 077 && echo "$(sha256sum <"$P/file{at}" | cut -d" " -f1)" {quote(folder)}/hosts.toml >>{CARRIED})'
        )
        lines.append(f"mkdir -p -- {quote(folder)}")
        mode = "0600" if secret else "0644"
        lines.append(f'put "$P/file{at}" {quote(f"{folder}/hosts.toml")} {mode} root root')
    return Script("".join(f"{each}\n" for each in lines), payload)


def _record(change: Change, names: Sequence[str]) -> StepRecord:
    return StepRecord(json.dumps({"id": change.resource.id, "action": "delete", "registries": list(names)}))
