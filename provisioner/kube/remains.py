"""A node is rid of one pod network plug-in, while the kubelet, the runtime, kube-proxy and perhaps another plug-in go
on there; and a second look tells what is still there.

Only things of the plug-in's own names go (traces.py). Both scripts find them by the same functions; each can be run
again, whatever has become of the last run."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from provisioner.kube.remainfind import FIND
from provisioner.kube.remainrules import RULES
from provisioner.kube.traces import BACKENDS, KUBE_PROXY, PLUGINS, RUNTIMES, Traces
from provisioner.shell.quote import quote
from provisioner.shell.script import Script
from provisioner.shell.worklock import locked

_NEVER = "no-such-name"
_PASSING = ("/run/", "/sys/")
_STEERING = "/run/cilium"
_EVERYTHING = KUBE_PROXY.with_([*PLUGINS.values(), RUNTIMES])
_KINDS = (
    ("programs", "program", "|"),
    ("mounts", "mount", ""),
    ("rules", "rule", "|"),
    ("emptied", "address", " "),
    ("protocols", "route", ""),
    ("gateways", "gateway", ""),
    ("pod_links", "podlink", "|"),
    ("bridges", "bridge", " "),
    ("links", "link", "|"),
)
"""In the order in which they go: fields of Traces, the function's name, and what is between several; "": one by one."""
_KINDS_LATER = (
    ("sets", "set", "|"),
    ("tables", "table", "|"),
    ("networks", "lease", " "),
    ("containers", "container", " "),
    ("files", "file", " "),
)
_TOLD = {"podlink": "link", "bridge": "link", "gateway": "route", "container": "file", "steering": "routing"}
_DELETED = {"podlink": "link", "bridge": "link"}


@dataclass(frozen=True)
class Remain:
    """One thing that is there. With a `reason` something holds it, or, where it is `left`, it is not to go at all."""

    kind: str
    name: str
    reason: str = ""
    left: bool = False


def clean_script(plugin: str, *, keep: Collection[str] = (), pod_cidrs: Collection[str] = ()) -> Script:
    """Takes away what `plugin` (of PLUGINS) has left on the node, but not what is also one of `keep`'s, nor what a pod
    that runs lives on. `pod_cidrs`: of flannel the other nodes' pod CIDRs, as they are in routes by these nodes; of
    Calico its pools, for BIRD's routes and tunl0's address: without them all BIRD's routes go, and tunl0 stays as it
    is. Prints nothing. Raises ValueError for no CIDR, KeyError for a plug-in that is not known."""
    return _cleaning(_of(plugin, keep), pod_cidrs, keep)


def clean_backend_script(plugin: str, backend: str, *, pod_cidrs: Collection[str] = ()) -> Script:
    """Takes away what only `backend` (of BACKENDS), from which the plug-in was changed to another, has left: the
    plug-in goes on. `pod_cidrs` are as `clean_script` has them."""
    return _cleaning(BACKENDS[plugin][backend], pod_cidrs, (plugin,))


def clean_vni_script(vni: int) -> Script:
    """Takes away flannel's link of a VNI that it had before, with what is on it."""
    return _cleaning(_of_vni(vni), (), ())


def vni_remains_script(vni: int) -> Script:
    """As `remains_script`, after `clean_vni_script`."""
    traces = _of_vni(vni)
    return Script("\n".join([_head(traces, (), ()), *_look(traces), ":"]) + "\n")


def backup_script(plugin: str, folder: str, *, keep: Collection[str] = ()) -> Script:
    """Copies into `folder` the files that `clean_script` with the same arguments takes away, with their paths; what was
    copied stays as it was. Not what a reboot takes away. Files are linked where that can be: it needs no room then."""
    patterns = [each for each in _of(plugin, keep).files if not each.startswith(_PASSING)]
    return Script(
        locked(f"""set -e
umask 077
for f in {" ".join(patterns)}; do
  [ -e "$f" ] || continue
  d={quote(folder)}"${{f%/*}}" n=${{f##*/}}
  [ ! -e "$d/$n" ] || continue
  mkdir -p -- "$d"
  rm -rf -- "$d/.$n"
  cp -al -- "$f" "$d/.$n" 2>/dev/null || {{ rm -rf -- "$d/.$n"; cp -a -- "$f" "$d/.$n"; }}
  mv -- "$d/.$n" "$d/$n"
done""")
        + "\n"
    )


def remains_script(plugin: str, *, keep: Collection[str] = (), pod_cidrs: Collection[str] = ()) -> Script:
    """Prints a line for each thing that `clean_script` with the same arguments is after and that is still there, and
    for those that it leaves on purpose; see `parse_remains`. Only reads."""
    traces = _of(plugin, keep)
    return Script("\n".join([_head(traces, pod_cidrs, keep), *_look(traces), ":"]) + "\n")


def backend_remains_script(plugin: str, backend: str, *, pod_cidrs: Collection[str] = ()) -> Script:
    """As `remains_script`, after `clean_backend_script`."""
    traces = BACKENDS[plugin][backend]
    return Script("\n".join([_head(traces, pod_cidrs, (plugin,)), *_look(traces), ":"]) + "\n")


def parse_remains(output: str) -> tuple[Remain, ...]:
    """What the look has told, each thing once; lines of others in between are passed over."""
    found = (line.split("\t") for line in output.splitlines())
    return tuple(
        dict.fromkeys(
            Remain(words[1], words[2], words[3], left=words[0] == "left")
            for words in found
            if len(words) == 4 and words[0] in ("there", "left")
        )
    )


def everything(pod_cidrs: Collection[str], networks: Collection[str] = ()) -> str:
    """Commands that take away what kube-proxy and any plug-in have left on a host without pods. `pod_cidrs` are those
    of the cluster and its pools: BIRD's routes go only within them; `networks` are CNI's names of others that pods
    got. Raises ValueError for no CIDR."""
    traces = _EVERYTHING.with_([Traces(networks=tuple(networks))])
    return "\n".join([_head(traces, pod_cidrs, ()), "gone=1", *_clean(traces)])


def anything(pod_cidrs: Collection[str], networks: Collection[str] = ()) -> str:
    """Commands that look, as `remains_script` does, for what `everything` is after."""
    traces = _EVERYTHING.with_([Traces(networks=tuple(networks))])
    return "\n".join([_head(traces, pod_cidrs, ()), "gone=1", *_look(traces)])


def _of(plugin: str, keep: Collection[str]) -> Traces:
    return PLUGINS[plugin].without([PLUGINS[each] for each in keep])


def _of_vni(vni: int) -> Traces:
    return Traces(links=(f"flannel(-v6)?[.]{vni}",))


def _cleaning(traces: Traces, pod_cidrs: Collection[str], keep: Collection[str]) -> Script:
    return Script(locked("\n".join([_head(traces, pod_cidrs, keep), *_clean(traces), ":"])) + "\n")


def _head(traces: Traces, pod_cidrs: Collection[str], keep: Collection[str]) -> str:
    links = [name for each in keep for name in (*PLUGINS[each].links, *PLUGINS[each].pod_links)]
    values = {
        "gone": "",
        "never": _NEVER,
        "nets": " ".join(str(ipaddress.ip_network(each)) for each in pod_cidrs),
        "kept_links": "|".join(links) or _NEVER,
        "chains": "|".join(traces.chains) or _NEVER,
        "comments": "|".join(traces.comments) or _NEVER,
        "networks": "|".join(each.replace(".", "[.]") for each in traces.networks) or _NEVER,
        "ports": "" if keep else "1",
    }
    return "\n".join(f"{name}={quote(value)}" for name, value in values.items()) + FIND + RULES


def _clean(traces: Traces) -> Iterator[str]:
    for kind, words in _found(traces):
        if kind == "rules":
            yield "each_table clean_table"
        else:
            deleted = _DELETED.get(kind, kind)
            line = f'find_{kind}{words} | free | while read -r it; do delete_{deleted} "$it"; done'
            # One set may be in another.
            yield from [line] * (2 if kind == "set" else 1)


def _look(traces: Traces) -> Iterator[str]:
    for kind, words in _found(traces):
        yield (
            "each_table look_at_table"
            if kind == "rules"
            else f"find_{kind}{words} | tell {_TOLD.get(kind, kind)}"
        )
    yield from _left(traces)


def _found(traces: Traces) -> Iterator[tuple[str, str]]:
    """Kinds in order, with the arguments of their functions."""
    yield from _arguments(traces, _KINDS)
    if _STEERING in traces.files:
        yield "steering", ""
    if traces.chains or traces.comments or traces.networks:
        yield "rules", ""
    yield from _arguments(traces, _KINDS_LATER)


def _arguments(traces: Traces, kinds: tuple[tuple[str, str, str], ...]) -> Iterator[tuple[str, str]]:
    for field, kind, between in kinds:
        names: tuple[str, ...] = getattr(traces, field)
        for each in names if not between else [between.join(names)] if names else ():
            yield kind, f" {quote(each)}"


def _left(traces: Traces) -> Iterator[str]:
    if traces.emptied:
        yield f"left_links {quote(' '.join(traces.emptied))}"
    programs = [each for each in traces.shared if f"/opt/cni/bin/{each}" not in traces.files]
    if programs:
        yield f"left_programs {quote(' '.join(programs))}"
    if traces.written:
        yield f"left_written {quote(' '.join(traces.written))}"
    yield from (f"left_setting {each}" for each in traces.settings)
    if _STEERING in traces.files:
        yield "left_aside"
    if traces.chains or traces.comments:
        yield "left_unread"
    if traces.sets:
        yield "left_unseen ipset set"
    if traces.tables:
        yield "left_unseen nft table"
