"""Scripts that mend faults of nodes' pod networks, each for exactly the things that were seen to be wrong.

Facts: containernetworking/plugins 1.9, plugins/ipam/host-local/backend/disk/lock.go (flock on the folder's `lock`);
flannel-io/cni-plugin, flannel_linux.go (a deletion of which it has noted nothing succeeds); containerd 1.6 to 2.x,
pkg/cri/server (it remembers sandboxes until it restarts, and then knows those that are containers).
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence

from provisioner.errors import ProvisionError
from provisioner.kube.cnicluster import Pod
from provisioner.kube.cniread import Complaint, Lease
from provisioner.kube.cniscript import KNOWN, LEASE_ID, LEASES
from provisioner.kube.kubectl import KUBECTL
from provisioner.resources.model import Runner
from provisioner.shell.quote import quote
from provisioner.shell.script import Blob, Script
from provisioner.shell.worklock import LOCK_SECONDS, locked

PATIENCE = 75
"""Seconds in which a kubelet tries again what the runtime could not do: after 15 for a pod that ends, after 60 for one
that is gone."""
REASON = "NetworkIsUp"
"""Of the condition, as people read it: flannel's is FlannelIsUp, Calico's CalicoIsUp."""

_LOCKED = r"""
# holding FOLDER COMMAND...: under the lock that host-local takes itself.
holding() {
  folder=$1
  shift
  (
    exec 9>>"$folder/lock" || exit 1
    flock -w 30 9 || { echo "$folder: host-local's lock is not free after 30 s" >&2; exit 1; }
    "$@"
  )
}
# A namespace goes only while nobody lives in it.
drop_namespace() {
  [ -e "/run/netns/$1" ] || return 0
  inode=$(stat -Lc %i -- "/run/netns/$1") || return 0
  used >"$W/used"
  if grep -qx "$inode" "$W/used"; then return 0; fi
  umount -l -- "/run/netns/$1" 2>/dev/null || :
  rm -f -- "/run/netns/$1"
}
"""

# What was seen is looked at once more, under the lock: by now the address may be somebody's.
_GIVE_BACK = r"""
give_back() {
  known >"$W/known" || return 1
  adding >"$W/adding"
  while read -r address container since; do
    f=$folder/$address
    [ -f "$f" ] || continue
    lease_id "$f"
    { [ "$id" = "$container" ] && [ "$(stat -c %Y -- "$f")" = "$since" ]; } || continue
    if grep -qxF -- "$id" "$W/known" || grep -qxF -- "CNI_CONTAINERID=$id" "$W/adding"; then continue; fi
    rm -f -- "$f"
    echo "$address"
  done <"$W/leases"
}
while read -r name; do drop_namespace "$name"; done <"$W/namespaces"
holding FOLDER give_back
"""

# What the plug-in has noted is what its deletion trips over, or not needed for it: the next try of kubelets succeeds.
# A sandbox that stays is forgotten by the runtime: its container and those of its pod, none of which runs.
_TEAR_DOWN = r"""
began=$(date +%s)
is_down() {
  ! grep -qxF -- "$1" "$W/listed" ||
    journalctl -u containerd.service --since="@$began" --no-pager -q 2>/dev/null |
    grep -F "$1" | grep -qE 'TearDown network for sandbox .* successfully|RemovePodSandbox .* successfully'
}
look() {
  ctr -n k8s.io containers list -q >"$W/listed" || exit 1
  while read -r id uid name; do is_down "$id" || echo "$id $uid $name"; done <"$W/sandboxes" >"$W/stay"
}
of_sandbox() {
  ctr -n k8s.io containers list -q "labels.\"io.kubernetes.pod.uid\"==$2" | while read -r c; do
    ! ctr -n k8s.io containers info "$c" | grep -qF "\"io.kubernetes.cri.sandbox-id\": \"$1\"" || echo "$c"
  done
}
runs() { ctr -n k8s.io tasks list | grep -F -- "$1" | grep -q 'RUNNING *$'; }
forget() {
  of_sandbox "$1" "$2" >"$W/containers"
  [ -s "$W/containers" ] || echo "$1" >"$W/containers"
  while read -r c; do
    if runs "$c"; then echo "sandbox $1: its container $c still runs" >&2; return 1; fi
  done <"$W/containers"
  umount -l -- "/run/containerd/io.containerd.grpc.v1.cri/sandboxes/$1/shm" 2>/dev/null || :
  while read -r c; do
    ctr -n k8s.io tasks delete --force "$c" >/dev/null 2>&1 || :
    ctr -n k8s.io containers delete "$c" || return 1
  done <"$W/containers"
  ctr -n k8s.io sandboxes remove --force "$1" >/dev/null 2>&1 || :
  drop_namespace "$3"
}
give_back() {
  for f in "$folder"/*; do
    [ -f "$f" ] || continue
    lease_id "$f"
    [ "$id" != "$sandbox" ] || rm -f -- "$f"
  done
}
settle() {
  until=$(($(date +%s) + PATIENCE))
  look
  while [ -s "$W/stay" ] && [ "$(date +%s)" -lt "$until" ]; do
    sleep 1
    look
  done
}
FIRST
noted=
while read -r id uid name; do
  if [ -e "/var/lib/cni/flannel/$id" ]; then rm -f -- "/var/lib/cni/flannel/$id"; noted=yes; fi
  for f in /var/lib/cni/results/*-"$id"-*; do
    if [ -f "$f" ] && [ "$(tail -c 1 -- "$f")" != '}' ]; then rm -f -- "$f"; noted=yes; fi
  done
done <"$W/stay"
[ -z "$noted" ] || settle
failed=
restart=
while read -r id uid name; do
  if forget "$id" "$uid" "$name"; then restart=yes; echo "$id"; else failed=yes; fi
done <"$W/stay"
[ -z "$restart" ] || systemctl restart containerd.service || failed=yes
[ -z "$failed" ] || exit 1
while read -r sandbox uid name; do
  for folder in LEASES/*; do [ ! -d "$folder" ] || holding "$folder" give_back || exit 1; done
done <"$W/sandboxes"
"""


_DELETE = f"""
drop() {{
  said=$({KUBECTL} delete --raw "$1" -f "$2" 2>&1) || case $said in
    *'(NotFound)'* | *'(Conflict)'*) ;;
    *) printf '%s\\n' "$said" >&2; exit 1 ;;
  esac
}}
"""


def give_back(runner: Runner, network: str, leases: Sequence[Lease], dead: Sequence[str]) -> int:
    """Gives addresses of `network` back, and deletes the namespaces `dead`, which have them and nobody in them. Returns
    how many addresses; one that is somebody's by now stays. Raises ProvisionError."""
    return len(_run(runner, give_back_script(network, leases, dead)).split())


def give_back_script(
    network: str, leases: Sequence[Lease], dead: Sequence[str] = (), folder: str = LEASES
) -> Script:
    rows = "".join(f"{each.address} {each.container} {each.since}\n" for each in leases)
    names = "".join(f"{each}\n" for each in dead)
    text = KNOWN + LEASE_ID + _LOCKED + _GIVE_BACK.replace("FOLDER", quote(f"{folder}/{network}"))
    return Script(
        locked(text) + "\n", {"leases": Blob.of(rows.encode()), "namespaces": Blob.of(names.encode())}
    )


def readdress(runner: Runner, link: str, wrong: Sequence[str], right: Sequence[str]) -> None:
    """Gives a bridge its addresses; what is attached to it stays attached. Raises ProvisionError."""
    _run(runner, readdress_script(link, wrong, right))


def readdress_script(link: str, wrong: Sequence[str], right: Sequence[str]) -> Script:
    # The wrong ones first: the kernel takes others of the same range away with them.
    name = quote(link)
    lines = [f"ip address delete {quote(each)} dev {name} 2>/dev/null || :" for each in wrong]
    for each in right:
        lines.append(
            f"ip -o address show dev {name} | grep -qF {quote(f' {each} ')} ||"
            f" ip address add {quote(each)} {'' if ':' in each else 'brd + '}dev {name}"
        )
    return Script(locked("\n".join(["set -e", *lines, f"ip link set {name} up"])) + "\n")


def tear_down(runner: Runner, complaints: Sequence[Complaint], *, waits: bool) -> list[str]:
    """Sees to it that sandboxes go whose networks the runtime could not take away. `waits`: the kubelet may succeed now
    without more. Returns those that the runtime had to forget, for which it was restarted. Raises ProvisionError."""
    return _run(runner, tear_down_script(complaints, waits=waits), 2 * PATIENCE + 60.0).split()


def tear_down_script(complaints: Sequence[Complaint], *, waits: bool) -> Script:
    rows = "".join(
        f"{each.sandbox} {each.uid or '-'} {each.namespace.rpartition('/')[2] or '-'}\n"
        for each in complaints
    )
    text = _TEAR_DOWN.replace("FIRST", "settle" if waits else "look").replace("PATIENCE", str(PATIENCE))
    text = KNOWN + LEASE_ID + _LOCKED + text.replace("LEASES", LEASES)
    return Script(locked(text) + "\n", {"sandboxes": Blob.of(rows.encode())})


def delete_pods(runner: Runner, pods: Sequence[Pod]) -> None:
    """Deletes just these pods, not others that have their names by now, and does not wait for that. Raises
    ProvisionError."""
    if pods:
        _run(runner, delete_pods_script(pods))


def delete_pods_script(pods: Sequence[Pod]) -> Script:
    lines, payload = [_DELETE], {}
    for number, each in enumerate(pods):
        options = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": each.uid}}
        payload[f"pod{number}"] = Blob.of(json.dumps(options).encode())
        path = f"/api/v1/namespaces/{each.namespace}/pods/{each.name}"
        lines.append(f'drop {quote(path)} "$W/pod{number}"')
    return Script(locked("\n".join(lines)) + "\n", payload)


def tell_available(runner: Runner, node: str, agents: Sequence[str]) -> None:
    """Makes a node's condition NetworkUnavailable False, as the network's own agent does. Raises ProvisionError."""
    _run(runner, available_script(node, agents, dt.datetime.now(dt.UTC)))


def available_script(node: str, agents: Sequence[str], now: dt.datetime) -> Script:
    moment = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    condition = {
        "type": "NetworkUnavailable",
        "status": "False",
        "reason": REASON,
        "message": f"{', '.join(agents)} is Ready: told by provision",
        "lastTransitionTime": moment,
        "lastHeartbeatTime": moment,
    }
    patch = quote(json.dumps({"status": {"conditions": [condition]}}))
    return Script(
        locked(
            f"{KUBECTL} patch node {quote(node)} --subresource=status --type=strategic -p {patch} >/dev/null"
        )
        + "\n"
    )


def _run(runner: Runner, script: Script, seconds: float = 60.0) -> str:
    answer = runner.run(script, deadline=seconds + LOCK_SECONDS)
    if answer.status != 0:
        said = answer.stderr.decode(errors="replace").strip()
        raise ProvisionError(said[-400:] or f"it ended with {answer.status}")
    return answer.stdout.decode(errors="replace")
