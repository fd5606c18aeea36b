"""The schema of the `cluster` section and of the variables of a host that belong to it, for cerberus.

Here stand the keys, the types and the checks of single values; defaults are in the model, rules between
fields in `rules`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from provisioner.inventory.words import hint_for
from provisioner.spec import (
    attachments,
    buildnetworkpods,
    calico,
    calicowords,
    cilium,
    ciliumwords,
    dns,
    felixwords,
    goregexp,
    labels,
    nameservers,
    policies,
    policywords,
    quantities,
    selectors,
    tuning,
    values,
    versions,
)
from provisioner.spec.attachmentschema import ATTACHMENT
from provisioner.spec.schemarules import SEPARATOR
from provisioner.spec.schemarules import number as _number
from provisioner.spec.schemarules import reported as _reported
from provisioner.spec.schemarules import section as _section
from provisioner.spec.schemarules import text as _text

_PORT = _number(1, 65535)
_CIDRS = {"type": "list", "empty": False, "schema": _text(values.cidr)}
_LABELS = {
    "type": "dict",
    "keysrules": _text(labels.node_label_key),
    "valuesrules": {"type": "string", "check_with": _reported(labels.label_value)},
}
_TAINTS = {"type": "list", "schema": {"type": ["string", "dict"], "check_with": _reported(labels.taint)}}
_MAX_PODS = _number(1, 10000)
_POD_PIDS = _number(-1, 4194304)
_RESERVED = _section({name: _text(quantities.amount) for name in quantities.RESERVABLE})
_EVICTION = _section({name: _text(quantities.threshold) for name in quantities.SIGNALS})
_SELINUX_BOOLEANS = {"type": "list", "schema": _text(values.selinux_boolean)}

_CALICO = _section(
    {
        "install": _text(allowed=list(calico.INSTALLS)),
        "policy_only": {"type": "boolean"},
        "encapsulation": _text(calicowords.encapsulation),
        "block_size": _number(20, 32),
        "block_size_ipv6": _number(116, 128),
        "nat_outgoing": {"type": "boolean"},
        "pools": {
            "type": "list",
            "empty": False,
            "schema": _section(
                {
                    "name": _text(values.dns_label, required=True),
                    "cidr": _text(values.cidr, required=True),
                    "encapsulation": _text(calicowords.encapsulation),
                    "block_size": _number(20, 128),
                    "nat_outgoing": {"type": "boolean"},
                    "node_selector": _text(selectors.selector),
                    "disable_bgp_export": {"type": "boolean"},
                }
            ),
        },
        "mtu": _number(576, 65535),
        "autodetection": _text(calicowords.autodetection),
        "wireguard": {"type": "boolean"},
        "typha": {"type": "boolean"},
        "operator": _section(
            {
                "api_server": {"type": "boolean"},
                "csi": {"type": "boolean"},
                "flex_volume": {"type": "boolean"},
                "installation": {"type": "dict", "keysrules": _text()},
            }
        ),
        "felix": {"type": "dict", "keysrules": _text(felixwords.setting)},
        "env": {
            "type": "dict",
            "keysrules": _text(calicowords.variable),
            "valuesrules": {"type": "string"},
        },
        "bgp": _section(
            {
                "as_number": _number(1, 4294967295),
                "mesh": {"type": "boolean"},
                "listen_port": _PORT,
                "route_reflectors": {"type": "list", "schema": _text()},
                "cluster_id": _text(calicowords.cluster_id),
                "peers": {
                    "type": "list",
                    "schema": _section(
                        {
                            "name": _text(values.dns_label, required=True),
                            "nodes": _text(selectors.selector),
                            "address": _text(calicowords.peer_address),
                            "as_number": _number(1, 4294967295),
                            "peers": _text(selectors.selector),
                        }
                    ),
                },
                "service_cluster_ips": _CIDRS,
                "service_external_ips": _CIDRS,
                "service_load_balancer_ips": _CIDRS,
            }
        ),
    }
)

_CILIUM = _section(
    {
        "routing_mode": _text(allowed=list(cilium.ROUTING_MODES)),
        "tunnel_protocol": _text(allowed=list(cilium.TUNNEL_PORTS)),
        "tunnel_port": _PORT,
        "native_routing_cidrs": _CIDRS,
        "auto_direct_node_routes": {"type": "boolean"},
        "ipam": _text(ciliumwords.ipam),
        "pools": _CIDRS,
        "kube_proxy_replacement": {
            "type": ["boolean", "string"],
            "check_with": _reported(ciliumwords.replacement),
        },
        "hubble": _section({name: {"type": "boolean"} for name in ("enabled", "relay", "ui")}),
        "mtu": _number(576, 65535),
        "wireguard": {"type": "boolean"},
        "devices": {"type": "list", "empty": False, "schema": _text(ciliumwords.device)},
        "config": {
            "type": "dict",
            "keysrules": _text(ciliumwords.config_key),
            "valuesrules": {"type": "string"},
        },
    }
)

_POD_LABELS = {
    "type": "dict",
    "keysrules": _text(labels.label_key),
    "valuesrules": {"type": "string", "check_with": _reported(labels.label_value)},
}
_NAMESPACES = {"type": "list", "empty": False, "schema": _text(values.dns_label)}
_PEERS = {
    "type": "list",
    "empty": False,
    "schema": _section(
        {
            "pods": _POD_LABELS,
            "namespaces": _NAMESPACES,
            "cidr": _text(values.any_cidr),
            "except": {"type": "list", "empty": False, "schema": _text(values.any_cidr)},
            "ports": {
                "type": "list",
                "empty": False,
                "schema": {"type": ["integer", "string"], "check_with": _reported(policywords.ports)},
            },
        }
    ),
}
_POLICY = _section(
    {
        "name": _text(values.dns_label, required=True),
        "namespaces": {**_NAMESPACES, "required": True},
        "kind": _text(allowed=list(policies.KINDS)),
        "pods": _POD_LABELS,
        "from": _PEERS,
        "to": _PEERS,
    }
)
_QUEUES = _number(1, 65535)
_TUNING = _section(
    {
        "profiles": {"type": "list", "schema": _text(tuning.profile)},
        "sysctls": {
            "type": "dict",
            "keysrules": _text(tuning.setting),
            "valuesrules": {"type": ["string", "integer"], "check_with": _reported(tuning.setting_value)},
        },
        "conntrack_max": _number(4096, 2**31 - 1),
        "links": {
            "type": "list",
            "empty": False,
            "schema": _section(
                {
                    "name": _text(values.interface),
                    "driver": _text(tuning.driver),
                    "channels": _section(dict.fromkeys(tuning.CHANNELS, _QUEUES)),
                    "rings": _section(dict.fromkeys(tuning.RINGS, _QUEUES)),
                    "offloads": {
                        "type": "dict",
                        "keysrules": _text(tuning.feature),
                        "valuesrules": {"type": "boolean"},
                    },
                }
            ),
        },
        "vxlan_checksum_offload": _text(allowed=list(tuning.CHECKSUM)),
    }
)

CLUSTER: Mapping[str, Any] = {
    "name": _text(values.dns_label, required=True),
    "requires": _text(versions.requires),
    "kubernetes": _section({"version": _text(versions.kubernetes, required=True)}, required=True),
    "network": _section(
        {
            "plugin": _text(versions.plugin),
            "pod_cidrs": _CIDRS,
            "service_cidrs": _CIDRS,
            "node_cidr_mask": _number(16, 28),
            "node_cidr_mask_ipv6": _number(48, 112),
            "allow_untested": {"type": "boolean"},
            "flannel": _section(
                {
                    "backend": _text(versions.backend),
                    "vni": _number(1, 16777215),
                    "port": _PORT,
                    "mtu": _number(576, 65535),
                    "interface": _text(values.interface),
                    "interface_regex": _text(goregexp.regular_expression),
                    "can_reach": _text(values.address),
                    "direct_routing": {"type": "boolean"},
                    "gbp": {"type": "boolean"},
                    "learning": {"type": "boolean"},
                    "port_ipv6": _PORT,
                    "mode": _text(allowed=list(versions.WIREGUARD_MODES)),
                    "keepalive": _number(0, 65535),
                }
            ),
            "calico": _CALICO,
            "cilium": _CILIUM,
            "pods": buildnetworkpods.SCHEMA,
            "policies": {"type": "list", "schema": _POLICY},
            "multus": _section({"variant": _text(allowed=list(attachments.VARIANTS))}),
            "attachments": {"type": "list", "schema": ATTACHMENT},
        }
    ),
    "proxy": _section(
        {
            "mode": _text(allowed=list(versions.PROXY_MODES)),
            "ipvs": _section(
                {
                    "scheduler": _text(allowed=list(versions.IPVS_SCHEDULERS)),
                    "strict_arp": {"type": "boolean"},
                }
            ),
        }
    ),
    "dns": _section(
        {
            "address": _text(values.address),
            "domain": _text(values.dns_name),
            "upstreams": {
                "type": "list",
                "maxlength": dns.MOST_SERVERS,
                "schema": _text(nameservers.upstream),
            },
            "stub_domains": {
                "type": "dict",
                "keysrules": _text(values.dns_name),
                "valuesrules": {
                    "type": "list",
                    "empty": False,
                    "maxlength": dns.MOST_SERVERS,
                    "schema": _text(nameservers.name_server),
                },
            },
            "forward": _section(
                {
                    "policy": _text(allowed=list(dns.FORWARD_POLICIES)),
                    "max_concurrent": _number(1, 1000000),
                    "max_fails": _number(0, 1000),
                    "force_tcp": {"type": "boolean"},
                    "prefer_udp": {"type": "boolean"},
                }
            ),
            "replicas": _number(1, 1000),
        }
    ),
    "endpoint": _section({"host": _text(values.host, required=True), "port": _PORT}),
    "etcd": _section({"allow_even": {"type": "boolean"}}),
    "existing": {
        "type": ["string", "dict"],
        "empty": False,
        "check_with": _reported(versions.existing),
        "schema": {
            "preset": _text(versions.existing, required=True),
            "kubernetes": _text(values.rooted),
            "etcd": _text(values.rooted),
            "admin_kubeconfig": _text(values.rooted),
            "reissue_api_certificate": {"type": "boolean"},
        },
    },
    "load_balancer": _section(
        {"mode": _text(allowed=list(versions.LOAD_BALANCING)), "virtual_router_id": _number(1, 255)}
    ),
    "registry": _section(
        {
            "host": _text(values.host),
            "port": _PORT,
            "project": {"type": "string", "check_with": _reported(values.project)},
            "ca": _text(values.path),
            "username": _text(values.account),
            "password": {"type": "secret"},
            "kind": _text(allowed=list(versions.REGISTRIES)),
            "public": {"type": "boolean"},
            "preload": {"type": "boolean"},
        }
    ),
    "http_proxy": _section(
        {
            "url": _text(values.proxy_url, required=True),
            "no_proxy": {"type": "list", "schema": _text(values.unproxied)},
        }
    ),
    "firewall": _text(allowed=list(versions.FIREWALL)),
    "bundle": _text(values.path),
    "bundle_public_key": _text(values.path),
    "runtime": _section({"name": _text(versions.runtime)}),
    "tuning": _TUNING,
    "nodes": _section(
        {
            "labels": _LABELS,
            "taints": _TAINTS,
            "max_pods": _MAX_PODS,
            "pod_pids_limit": _POD_PIDS,
            "kube_reserved": _RESERVED,
            "system_reserved": _RESERVED,
            "eviction_hard": _EVICTION,
            "selinux_booleans": _SELINUX_BOOLEANS,
        }
    ),
}

HOST: Mapping[str, Any] = {
    "node": {"type": "boolean"},
    "kube_proxy_conntrack_max_per_core": _number(0, 2**31 - 1),
    "kube_proxy_conntrack_min": _number(0, 2**31 - 1),
    "containerd_restrict_oom_score_adj": {"type": "boolean"},
    "kubelet_allow_swap": {"type": "boolean"},
    "node_address": _text(values.address),
    "node_address_second": _text(values.address),
    "node_interface": _text(values.interface),
    "node_labels": _LABELS,
    "node_taints": _TAINTS,
    "node_max_pods": _MAX_PODS,
    "node_pod_pids_limit": _POD_PIDS,
    "node_kube_reserved": _RESERVED,
    "node_system_reserved": _RESERVED,
    "node_eviction_hard": _EVICTION,
    "node_selinux_booleans": _SELINUX_BOOLEANS,
}


def rules_at(schema: Mapping[str, Any], path: tuple[Any, ...]) -> Mapping[str, Any]:
    """The rules of the value at `path`, as far as it goes by the schema."""
    rules: Mapping[str, Any] = {"type": "dict", "schema": schema}
    for step in path:
        inner = rules.get("valuesrules") or rules.get("schema", {})
        rules = inner if "valuesrules" in rules or isinstance(step, int) else inner.get(step, {})
    return rules


def keys_at(schema: Mapping[str, Any], path: tuple[Any, ...]) -> tuple[str, ...]:
    """The keys that the mapping at `path` may have; none when it may have any."""
    rules = rules_at(schema, path)
    return tuple(rules.get("schema", {})) if "dict" in rules.get("type", "") else ()


def refusal(rules: Mapping[str, Any], text: str) -> tuple[str, str] | None:
    """Reason and hint when `text` would not do for a value with these rules."""
    refused: list[str] = []
    if "check_with" in rules:
        rules["check_with"](None, text, lambda _, message: refused.append(message))
    if "allowed" in rules and text not in rules["allowed"]:
        refused.append(f"'{text}' is not known{SEPARATOR}{hint_for(text, rules['allowed'])}")
    if not refused:
        return None
    reason, _, hint = refused[0].partition(SEPARATOR)
    return reason, hint
