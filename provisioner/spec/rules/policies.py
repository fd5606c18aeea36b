"""Policies: that somebody enforces them, that they say something, and that they leave the cluster its DNS."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from provisioner.errors import Problem
from provisioner.spec.ciliumwords import UNENFORCING
from provisioner.spec.draft import Draft
from provisioner.spec.policies import CALICO_NAMESPACES, DNS_LABELS, DNS_NAMESPACE
from provisioner.spec.validation import Path
from provisioner.spec.values import IPNetwork, any_cidr
from provisioner.spec.versions import ENFORCING

CHECK_NAMESPACE = "provision-check"
"""Where the traffic check's pods are (kube.check_objects)."""
_AT: Path = ("network", "policies")


def policies_are_enforced(draft: Draft) -> Iterator[Problem]:
    """An API server takes them in any case, and whoever reads them there believes them."""
    chosen = draft.get("network", "plugin", default="flannel")
    if not draft.get("network", "policies"):
        return
    if draft.get("existing") is not None:
        reason = "policies: the network of a cluster that others have built is not this tool's"
        yield draft.problem(_AT, reason, "leave them out, and apply them with kubectl", key=True)
    elif isinstance(chosen, str) and chosen not in ENFORCING:
        reason = (
            f"policies: {chosen} does not enforce NetworkPolicies: all traffic would pass in spite of them"
        )
        yield draft.problem(
            _AT,
            reason,
            f"set network.plugin: {', '.join(ENFORCING[:-1])} or {ENFORCING[-1]}, or leave them out",
            key=True,
        )


def cilium_enforces_policies(draft: Draft) -> Iterator[Problem]:
    """Its configuration may have it pass over them."""
    at: Path = ("network", "cilium", "config")
    config = draft.get("network", "cilium", "config")
    if not draft.get(*_AT) or draft.get("network", "plugin") != "cilium" or not isinstance(config, dict):
        return
    for name, values in UNENFORCING.items():
        if (*at, name) not in draft.bad and str(config.get(name, "")).lower() in values:
            reason = f"{name}: with {config[name]} Cilium enforces no NetworkPolicies, and there are network.policies"
            yield draft.problem((*at, name), reason, "leave it out, or leave out network.policies", key=True)


def policies_have_names_of_their_own(draft: Draft) -> Iterator[Problem]:
    seen: set[tuple[str, str]] = set()
    for at, policy in _policies(draft):
        name = policy.get("name")
        for index, namespace in enumerate(_texts(policy, "namespaces") if isinstance(name, str) else ()):
            if (namespace, name) in seen:
                reason = f"namespaces: {namespace} has a policy '{name}' already"
                yield draft.problem((*at, "namespaces", index), reason, "give this one another name")
            seen.add((namespace, str(name)))


def policies_say_something(draft: Draft) -> Iterator[Problem]:
    for at, policy in _policies(draft):
        kind = policy.get("kind", "allow")
        if kind == "allow" and not policy.keys() & {"from", "to"} and not _is_bad(draft, at):
            reason = f"the policy {policy.get('name')} allows nothing, and refuses nothing"
            yield draft.problem(at, reason, "add from or to, or kind: deny or isolate")
        for name in ("pods", "from", "to") if kind in ("deny", "isolate") else ():
            if name in policy:
                reason = f"{name}: the kind {kind} is about all pods of its namespaces"
                hint = "leave it out, and allow more by a policy of its own beside this one"
                yield draft.problem((*at, name), reason, hint, key=True)


def policies_name_somebody(draft: Draft) -> Iterator[Problem]:
    for at, peer in _peers(draft):
        if not peer.keys() & {"cidr", "pods", "namespaces"} and not _is_bad(draft, at):
            hint = "add pods, namespaces or cidr; cidr: 0.0.0.0/0 is everybody, pods: {} all of its namespace"
            yield draft.problem(at, f"{at[-2]}: this is nobody", hint)
        for name in ("pods", "namespaces"):
            if "cidr" in peer and name in peer:
                reason = f"{name}: a cidr is addresses, whoever has them"
                yield draft.problem((*at, name), reason, "make two entries of it", key=True)
        yield from _exceptions(draft, at, peer)


def policies_leave_the_cluster_its_dns(draft: Draft) -> Iterator[Problem]:
    """Nor is the traffic check hindered, without which no run ends well."""
    for at, policy in _policies(draft):
        for index, namespace in enumerate(_texts(policy, "namespaces")):
            if namespace == CHECK_NAMESPACE:
                reason = f"namespaces: {namespace} is where this tool proves that pods talk"
                yield draft.problem((*at, "namespaces", index), reason, "leave it out")
            if namespace == DNS_NAMESPACE and not policy.get("pods"):
                reason = f"namespaces: all pods of {namespace} would mean the cluster's DNS, too"
                hint = "choose pods there by their labels, with a policy of the kind allow"
                yield draft.problem((*at, "namespaces", index), reason, hint)
            if namespace == DNS_NAMESPACE and policy.get("pods") and _all_in(policy["pods"], DNS_LABELS):
                reason = f"pods: in {namespace} these are the cluster's DNS, which all pods need"
                yield draft.problem((*at, "pods"), reason, "choose others", key=True)
            if namespace in CALICO_NAMESPACES and not policy.get("pods"):
                reason = f"namespaces: all pods of {namespace} would mean Calico's own, by which policies come about"
                yield draft.problem((*at, "namespaces", index), reason, "leave it out")


def _all_in(labels: Any, others: Mapping[str, str]) -> bool:
    """Whether pods with the `others` are chosen by the labels."""
    return isinstance(labels, dict) and labels.items() <= others.items()


def _exceptions(draft: Draft, at: Path, peer: Mapping[str, Any]) -> Iterator[Problem]:
    if "except" in peer and "cidr" not in peer:
        yield draft.problem((*at, "except"), "except: there is no cidr to except from", "add it", key=True)
    if "cidr" not in peer or (*at, "cidr") in draft.bad or (*at, "except") in draft.bad:
        return
    whole = any_cidr(peer["cidr"])
    for index, text in enumerate(peer.get("except") or ()):
        path = (*at, "except", index)
        if path in draft.bad:
            continue
        part = any_cidr(text)
        if part.version != whole.version or part == whole or not part.subnet_of(whole):  # type: ignore[arg-type]
            yield draft.problem(
                path, f"except: {part} is no part of {whole}", "leave it out, or widen the cidr"
            )


def cidrs_are_of_the_outside(draft: Draft) -> Iterator[Problem]:
    """Calico takes a pod for its address, Cilium for its name, and a service's address is another one by the time that
    policies look at it (Kubernetes, docs, concepts/services-networking/network-policies). Everybody may be meant."""
    for at, peer in _peers(draft):
        if "cidr" not in peer or (*at, "cidr") in draft.bad or (*at, "except") in draft.bad:
            continue
        whole = any_cidr(peer["cidr"])
        but = [
            any_cidr(text)
            for index, text in enumerate(peer.get("except") or ())
            if (*at, "except", index) not in draft.bad
        ]
        for placed in draft.networks("pod_cidrs") if whole.prefixlen else ():
            pods = placed.network
            if (_holds(whole, pods) or _holds(pods, whole)) and not any(_holds(each, pods) for each in but):
                reason = f"cidr: {whole} has addresses of pods ({pods}), which are to be meant by their names"
                hint = "name pods or namespaces"
                if _holds(whole, pods) and whole != pods:
                    hint = f"add except: [{pods}]"
                yield draft.problem((*at, "cidr"), reason, hint)
        for placed in draft.networks("service_cidrs"):
            if _holds(placed.network, whole):
                reason = (
                    f"cidr: {whole} is of services, whose addresses are translated before policies see them"
                )
                yield draft.problem((*at, "cidr"), reason, "name the pods behind the service")


def _holds(whole: IPNetwork, part: IPNetwork) -> bool:
    return whole.version == part.version and part.subnet_of(whole)  # type: ignore[arg-type]  # one version


def _policies(draft: Draft) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """Those that are mappings."""
    written = draft.get("network", "policies")
    for index, policy in enumerate(written if isinstance(written, list) else ()):
        if isinstance(policy, dict) and (*_AT, index) not in draft.bad:
            yield (*_AT, index), policy


def _peers(draft: Draft) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    for at, policy in _policies(draft):
        for name in ("from", "to"):
            written = policy.get(name)
            for index, peer in enumerate(written if isinstance(written, list) else ()):
                if isinstance(peer, dict) and (*at, name, index) not in draft.bad:
                    yield (*at, name, index), peer


def _is_bad(draft: Draft, at: Path) -> bool:
    """Something in it is wrong by itself: a key that is misspelt may be the one that is missed."""
    return any(path[: len(at)] == at for path in draft.bad)


def _texts(policy: Mapping[str, Any], name: str) -> list[str]:
    written = policy.get(name)
    return [each for each in written if isinstance(each, str)] if isinstance(written, list) else []
