"""How the traffic check asks: from a pod's network by `kubectl exec`, from a host's own over that host's session.

A host need have none of the programs for that: it borrows them from the mount namespace of the check's pod that runs
there (nsenter of util-linux).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from provisioner.kube.check_objects import NAMESPACE
from provisioner.kube.kubectl import KUBECTL_EXEC
from provisioner.resources.model import Answer
from provisioner.shell.quote import quote
from provisioner.shell.script import Script

PATIENCE = 45
"""Seconds in which a target has to answer: DNS and service rules follow the pods by seconds on a new cluster, and
CoreDNS takes up to that long to ask again after an API server was away."""


@dataclass(frozen=True)
class Asker:
    """The network of a pod, or of the host `node` with the programs of the container (its id) of that pod."""

    node: str
    pod: str
    container: str = ""

    @property
    def place(self) -> str:
        return "host" if self.container else "pod"


@dataclass(frozen=True)
class Target:
    """One thing to reach. `kind` is same-node, other-node, service, node-port or dns; `node` where it is, if it is on
    one."""

    kind: str
    address: str
    node: str = ""


@dataclass(frozen=True)
class Broken:
    """A target that did not answer, and what the asker said."""

    asker: Asker
    target: Target
    said: str


Wishes = Mapping[Asker, Sequence[Target]]


def questions(wishes: Wishes, first: str) -> dict[str, Script]:
    """What each host has to run: those that ask for themselves, and `first`, where kubectl is, for all pods. Every
    asker begins at once; each printed line begins with the number of its asker in `wishes`."""
    calls: dict[str, dict[int, str]] = {}
    for number, (asker, targets) in enumerate(wishes.items()):
        inner = quote(_inner_script(targets))
        if asker.container:
            calls.setdefault(asker.node, {})[number] = f"from_host {quote(asker.container)} {inner}"
        else:
            calls.setdefault(first, {})[number] = f"from_pod {quote(asker.pod)} {inner}"
    return {host: _at_once(those) for host, those in calls.items()}


def _at_once(calls: Mapping[int, str]) -> Script:
    lines = [f'{call} >"$W/{number}" 2>&1 </dev/null &' for number, call in calls.items()]
    lines += ["wait", *(f'sed "s/^/{number} /" "$W/{number}"; echo' for number in calls)]
    return Script(_HEAD + "\n".join(lines) + "\n")


_HEAD = f"""
from_pod() {{
  {KUBECTL_EXEC} -n {NAMESPACE} exec "$1" -- /bin/sh -c "$2"
}}
from_host() {{
  # The first process of the container, which is there as long as it.
  process=$(grep -ls "$1" /proc/[0-9]*/cgroup | while read -r each; do
    grep -ls '^NSpid:.*[[:space:]]1$' "${{each%/cgroup}}/status"
  done | tr -dc '0-9\\n' | head -n 1)
  [ -n "$process" ] || {{ echo "the container $1 does not run here"; return; }}
  # With its processes, too: a busybox without links starts its programs by way of /proc/self/exe. As nobody: who may
  # change things in the pod is not root on the host by that. The pod's programs need not be where the host's are.
  setpriv --no-new-privs nsenter --target "$process" --mount --pid --setgid 65534 --setuid 65534 -- \\
    /bin/sh -c "PATH=/usr/sbin:/usr/bin:/sbin:/bin; $2"
}}
"""


def judge(wishes: Wishes, answers: Iterable[Answer]) -> list[Broken]:
    """What did not answer, of all `wishes`, by what the scripts of `questions` printed."""
    said: dict[int, list[str]] = {}
    failed = []
    for answer in answers:
        if answer.status != 0:
            failed.append(answer.stderr.decode(errors="replace").strip()[-300:])
        for text in answer.stdout.decode(errors="replace").split("\n"):
            number, _, rest = text.partition(" ")
            if number.isdecimal():
                said.setdefault(int(number), []).append(rest)
    return [
        broken
        for number, (asker, targets) in enumerate(wishes.items())
        for broken in _judge(asker, targets, said.get(number, failed))
    ]


def _judge(asker: Asker, targets: Sequence[Target], texts: Sequence[str]) -> list[Broken]:
    """Every target needs a line "ok KIND ADDRESS"; silence is a failure, too."""
    good = {text for text in texts if text.startswith("ok ")}
    rest = "; ".join(dict.fromkeys(text for text in texts if not text.startswith(("ok ", "bad "))))
    told = {
        " ".join(text.split(" ")[1:3]): text.split(" ", 3)[-1] for text in texts if text.startswith("bad ")
    }
    return [
        Broken(asker, target, told.get(f"{target.kind} {target.address}", rest or "no answer"))
        for target in targets
        if f"ok {target.kind} {target.address}" not in good
    ]


def _inner_script(targets: Iterable[Target]) -> str:
    """All targets at once, one line for each. nc starts in a tenth of agnhost's time, but resolves no names where
    busybox is linked statically."""
    calls = "\n".join(f"check {each.kind} {each.address} {_words(each)} &" for each in targets)
    return f"""end=$(($(date +%s) + {PATIENCE}))
reach() {{
  if [ "$1" = dns ]; then timeout 5 /agnhost connect --timeout=2s "$2"
  else timeout "$t" nc -w 3 "$3" "$4" </dev/null >/dev/null
  fi
}}
check() {{
  # What is sent before the rules of a service are there is lost: the first try is a short one.
  t=0.5
  until m=$(reach "$@" 2>&1); do
    if [ "$(date +%s)" -ge "$end" ]; then echo "bad $1 $2 ${{m:-no answer within 5 s}}"; return; fi
    t=5
    sleep 0.2
  done
  echo "ok $1 $2"
}}
{calls}
wait
"""


def _words(target: Target) -> str:
    """Host and port of the target as two words."""
    host, _, port = target.address.rpartition(":")
    return f"{host.strip('[]')} {port}"
