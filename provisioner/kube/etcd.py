"""The modules `etcd_seed` and `etcd_member`: how a host's etcd becomes a member, of a new cluster or of one that runs.

etcd reads what its cluster consists of only before it has data (etcd.io/docs, op-guide/configuration). That is the
seed: an EnvironmentFile of its unit, which goes once the member votes. Members of a new cluster are all named in it and
start together. One that joins is added first as a learner, which has no vote and so cannot cost the others theirs
(etcd.io/docs, learning/design-learner), and votes once it has caught up; one at a time, which the playbook cares for.

All is done from the new host: it reaches the others' client ports anyhow, and what it does there needs no second host.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from provisioner.kube.etcdctl import OWN, etcdctl, etcdctl_asking
from provisioner.resources.model import Absent, Change, Present, Resource, State, Unknown
from provisioner.resources.task import TaskCall
from provisioner.shell.quote import quote
from provisioner.shell.script import Script

SEED = "/etc/kubernetes/etcd-seed.env"
DATA = "/var/lib/etcd/member"
"""Is there as soon as etcd has started once."""
_SECONDS = 60
"""For what waits for other members, which may be about to start."""

_LATER = f"""
end=$(($(date +%s) + {_SECONDS}))
later() {{
  [ "$(date +%s)" -lt "$end" ] || {{ cat "$P/said" >&2; exit 1; }}
  sleep 0.3
}}
"""
"""`later` waits a little, or ends the script with what was said last."""

# Lines such as "8211f1d0f64f3269, started, cp1, https://10.0.0.1:2380, https://10.0.0.1:2379, false"; one that never
# started has no name. A member of this name or address that has started is one of a former life: its data are gone, and
# it must not come back under its old number. Whether the others can do without it etcd knows, and refuses otherwise.
# One that answers lives somewhere else, and is not ours to end.
_ADD = f"""
alive() {{ {etcdctl_asking("theirs")} endpoint health >/dev/null 2>&1; }}
while :; do
  if ! ctl member list >"$P/members" 2>"$P/said"; then
    later
    continue
  fi
  mine=
  gone=
  while IFS=', ' read -r id status member peer client rest; do
    case $status,$member,$peer in
      started,"$name",* | started,*,"$url") gone=$id theirs=$client ;;
      unstarted,,"$url") mine=$id ;;
    esac
  done <"$P/members"
  if [ -n "$gone" ]; then
    if alive; then
      echo "etcd has a member $name that runs and answers at $theirs: name this host otherwise, or remove that one" >&2
      exit 1
    fi
    ctl member remove "$gone" >/dev/null 2>"$P/said" || later
  elif [ -n "$mine" ]; then
    break
  else
    ctl member add "$name" --learner --peer-urls="$url" >/dev/null 2>"$P/said" || later
  fi
done
cluster=
while IFS=', ' read -r id status member peer rest; do
  [ "$peer" != "$url" ] || member=$name
  cluster="$cluster,${{member:-$id}}=$peer"
done <"$P/members"
cluster=${{cluster#,}}
"""

_WRITE = f"""
umask 077
{{
  echo "# written by provision for the first start only: %(nonce)s"
  echo "ETCD_INITIAL_CLUSTER_STATE=%(state)s"
  echo "ETCD_INITIAL_CLUSTER=$cluster"
}} >{SEED}.new
mv -f {SEED}.new {SEED}
"""

# A learner answers nobody who asks for members, so the others are asked as well.
_VOTE = """
id=
while :; do
  if ctl member list >"$P/members" 2>"$P/said"; then
    voter=
    id=
    while IFS=', ' read -r number status member peer client learner; do
      [ "$peer" = "$url" ] || continue
      id=$number
      [ "$status,$learner" != started,false ] || voter=yes
    done <"$P/members"
    [ -z "$voter" ] || break
    if [ -n "$id" ]; then
      ctl member promote "$id" >/dev/null 2>"$P/said" || :
    else
      echo "the cluster has no member $url" >"$P/said"
    fi
  fi
  later
done
"""


class EtcdSeedKind:
    """Present once the host has a member's data, or the seed for it that this run has written.

    `lost`: it had data, which are not there; to go on without them is asked for (engine.danger).
    """

    name = "etcd_seed"

    def __init__(self) -> None:
        # What the cluster consists of may have changed since a run that was killed wrote its seed.
        self._nonce = secrets.token_hex(8)

    def build(self, task: TaskCall) -> Sequence[Resource]:
        return [Resource("etcd_seed", str(task.args["name"]), Present(), _spec(task), writes=(SEED,))]

    def probe(self, resources: Sequence[Resource]) -> Script:
        del resources
        return Script(f"[ ! -d {DATA} ] || echo there\n! grep -qs {self._nonce} {SEED} || echo there\n")

    def parse(self, output: bytes, resources: Sequence[Resource]) -> Mapping[str, State]:
        return {each.id: Present() if output.strip() else Absent() for each in resources}

    def change(self, change: Change) -> Script:
        spec = change.resource.spec
        written = _WRITE % {"nonce": self._nonce, "state": "new" if spec["founding"] else "existing"}
        if spec["founding"]:
            cluster = ",".join(f"{name}=https://{address}:2380" for name, address in spec["members"])
            return Script(f"cluster={quote(cluster)}\n{written}")
        return Script(f"{_named(spec, _others(spec))}{_LATER}{_ADD}{written}")


class EtcdMemberKind:
    """Present when the host's member votes and needs no seed any more."""

    name = "etcd_member"

    def build(self, task: TaskCall) -> Sequence[Resource]:
        return [Resource("etcd_member", str(task.args["name"]), Present(), _spec(task), writes=(SEED,))]

    def probe(self, resources: Sequence[Resource]) -> Script:
        del resources
        return Script(
            f"[ -d {DATA} ] || echo none\n[ ! -e {SEED} ] || echo none\n"
            f"[ ! -d {DATA} ] || [ -e {SEED} ] || {etcdctl()} member list\n"
        )

    def parse(self, output: bytes, resources: Sequence[Resource]) -> Mapping[str, State]:
        lines = output.decode(errors="replace").splitlines()
        rows = [line.split(", ") for line in lines]
        voters = {row[3] for row in rows if len(row) == 6 and row[1] == "started" and row[5] == "false"}
        if not lines:
            return {each.id: Unknown("etcd does not answer") for each in resources}
        return {each.id: Present() if each.spec["url"] in voters else Absent() for each in resources}

    def change(self, change: Change) -> Script:
        spec = change.resource.spec
        return Script(f"{_named(spec, [OWN, *_others(spec)])}{_LATER}{_VOTE}rm -f {SEED}\n")


def _spec(task: TaskCall) -> dict[str, Any]:
    task.check({"name": str, "address": str, "members": list}, {"founding": bool, "lost": bool})
    return {
        "name": str(task.args["name"]),
        "url": f"https://{task.args['address']}:2380",
        "founding": bool(task.args.get("founding")),
        "lost": bool(task.args.get("lost")),
        "members": tuple((str(each["name"]), str(each["address"])) for each in task.args["members"]),
    }


def _others(spec: Mapping[str, Any]) -> list[str]:
    return [f"https://{address}:2379" for name, address in spec["members"] if name != spec["name"]]


def _named(spec: Mapping[str, Any], endpoints: Sequence[str]) -> str:
    return f'name={quote(spec["name"])}\nurl={quote(spec["url"])}\nctl() {{ {etcdctl(endpoints)} "$@"; }}\n'
