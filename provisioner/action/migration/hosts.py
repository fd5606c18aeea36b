"""What a migration does on each node: new pods get the new network; later the old one's things go, and are looked for
once more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from provisioner.errors import ProvisionError
from provisioner.kube.podcopies import FOLDER
from provisioner.network.record import RECORD_FILE, NetworkRecord
from provisioner.remote.pool import Pool
from provisioner.shell.quote import quote
from provisioner.shell.script import Blob, Script
from provisioner.shell.worklock import locked

_SECONDS = 120.0
_NET_D = "/etc/cni/net.d"
_CONFIGURATIONS: Mapping[str, tuple[str, ...]] = {
    "flannel": ("10-flannel.conflist", "10-flannel.conf"),
    "calico": ("10-calico.conflist",),
    "canal": ("10-canal.conflist",),
    "cilium": ("05-cilium.conflist", "05-cilium.conf"),
}


def turn_script(old: str, new: str, folder: str) -> Script:
    """New pods of the node get the plug-in `new`: the configuration of `old` is moved into `folder`, once the other one
    is there, which may have been moved aside on the way here: the latest that was is taken. The runtime reads the
    folder anew by itself. Prints "turned" where something was to be done."""
    aside = "".join(
        f"[ ! -e {_NET_D}/{name} ] || {{ mv {_NET_D}/{name} {quote(folder)}/{name}; echo turned; }}\n"
        for name in _CONFIGURATIONS[old]
    )
    names = " ".join(_CONFIGURATIONS[new])
    return Script(
        locked(f"""
set -e
there() {{
  for n in {names}; do [ ! -s "{_NET_D}/$n" ] || return 0; done
  return 1
}}
end=$(($(date +%s) + 60))
until there; do
  stat -c '%Y %n' {FOLDER}/*/ 2>/dev/null | sort -rn | while read -r _ f; do
    for n in {names}; do [ ! -s "$f$n" ] || cp -p "$f$n" "{_NET_D}/$n"; done
    ! there || break
  done
  ! there || break
  if [ "$(date +%s)" -ge "$end" ]; then echo "{_NET_D}/{_CONFIGURATIONS[new][0]} is not there" >&2; exit 1; fi
  sleep 0.2
done
umask 077
mkdir -p {quote(folder)}
{aside}:""")
        + "\n"
    )


def each(pool: Pool, hosts: Sequence[str], script: Script, what: str) -> dict[str, str]:
    """What the script prints on each of `hosts`, side by side. Raises ProvisionError naming those where it failed."""
    answers = pool.map(hosts, lambda session: session.run(script, deadline=_SECONDS))
    faults, said = [], {}
    for host, answer in answers.items():
        if isinstance(answer, Exception):
            raise answer
        if answer.status != 0:
            faults.append(f"{host}: {what}: {answer.stderr.decode(errors='replace').strip()[-300:]}")
        said[host] = answer.stdout.decode(errors="replace")
    if faults:
        raise ProvisionError("\n".join(faults), "mend that and run the same command again")
    return said


def write_record(pool: Pool, planes: Sequence[str], record: NetworkRecord) -> None:
    """On all control planes. Raises ProvisionError."""
    folder = RECORD_FILE.rpartition("/")[0]
    script = (
        f"set -e\numask 077\nmkdir -p {folder}\n"
        f'cp "$W/record" {RECORD_FILE}.new\nmv {RECORD_FILE}.new {RECORD_FILE}\n'
    )
    each(
        pool,
        planes,
        Script(script, {"record": Blob.of(record.to_json().encode())}),
        "the migration cannot be noted down",
    )


def backup_folder(mark: str) -> str:
    """Where a migration's backups lie on each host."""
    return f"{FOLDER}/{mark}"
