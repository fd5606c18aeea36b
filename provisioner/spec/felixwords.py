"""Names of Felix's settings: fields of FelixConfiguration, and variables of the container calico-node.

Facts: Calico 3.28, felix/config/config_params.go and env_var_loader.go; api, v3/felixconfig.go (confignamev1).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from provisioner.spec.othernames import hint_of, key_elsewhere
from provisioner.spec.values import RefusedError

AT = ("network", "calico", "felix")
PREFIX = "FELIX_"
_PARAMETERS: Mapping[str, str] = MappingProxyType(
    {
        "endpointReportingDelay": "EndpointReportingDelaySecs",
        "externalNodesList": "ExternalNodesCIDRList",
        "ipipEnabled": "IpInIpEnabled",
        "ipipMTU": "IpInIpMtu",
        "iptablesLockProbeInterval": "IptablesLockProbeIntervalMillis",
        "iptablesLockTimeout": "IptablesLockTimeoutSecs",
        "iptablesPostWriteCheckInterval": "IptablesPostWriteCheckIntervalSecs",
        "netlinkTimeout": "NetlinkTimeoutSecs",
        "reportingInterval": "ReportingIntervalSecs",
        "reportingTTL": "ReportingTTLSecs",
        "usageReportingInitialDelay": "UsageReportingInitialDelaySecs",
        "usageReportingInterval": "UsageReportingIntervalSecs",
        "wireguardKeepAlive": "WireguardPersistentKeepAlive",
    }
)
"""Fields whose variable is not named after them."""
_KEYS: Mapping[str, str] = MappingProxyType(
    {
        "ipv6Support": "pools",
        "ipipMTU": "mtu",
        "vxlanMTU": "mtu",
        "vxlanMTUV6": "mtu",
        "wireguardMTU": "mtu",
        "wireguardMTUV6": "mtu",
        "wireguardEnabled": "wireguard",
        "wireguardEnabledV6": "wireguard",
        "vxlanEnabled": "encapsulation",
        "ipipEnabled": "encapsulation",
    }
)
"""Fields that a key of network.calico stands for."""
_OTHERWISE: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "healthEnabled": (
            "Felix's health is always on: the probes of calico-node ask it, and one that does not answer is restarted",
            "leave it out",
        ),
        "bpfEnabled": (
            "Felix's BPF would carry services, and kube-proxy does that here",
            "leave it out, or set network.plugin: cilium with kube_proxy_replacement",
        ),
    }
)
"""Fields that have one value here: why, and what to do."""
_SETTLED = (
    "DatastoreType", "FelixHostname", "EtcdAddr", "EtcdScheme", "EtcdKeyFile", "EtcdCertFile", "EtcdCaFile",
    "EtcdEndpoints", "TyphaAddr", "TyphaK8sServiceName", "TyphaK8sNamespace", "TyphaKeyFile", "TyphaCertFile",
    "TyphaCAFile", "TyphaCN", "TyphaURISAN", "IPv4VXLANTunnelAddr", "IPv6VXLANTunnelAddr", "VXLANTunnelMACAddr",
    "VXLANTunnelMACAddrV6", "IpInIpTunnelAddr", "ClusterGUID", "ClusterType", "CalicoVersion", "Variant",
)  # fmt: skip
"""Parameters without a field that Calico's manifests, or its agents on each node, settle by themselves."""
_FREE = (
    "TyphaReadTimeout", "TyphaWriteTimeout", "DebugBPFCgroupV2", "DebugBPFMapRepinEnabled", "DebugCPUProfilePath",
    "DebugPanicAfter", "DebugSimulateDataRace",
)  # fmt: skip
"""Parameters without a field that may be chosen: variables alone have them."""


def variable_of(field: str) -> str:
    """The variable that says the same as the field."""
    return f"{PREFIX}{_PARAMETERS.get(field, field).upper()}"


KEYS_OF_VARIABLES: Mapping[str, str] = MappingProxyType(
    {variable_of(field): key for field, key in _KEYS.items()}
)
"""Variables that a key of network.calico stands for."""


def variables_of(fields: Iterable[str]) -> set[str]:
    """All that Felix reads, of a release whose FelixConfiguration has these fields."""
    return {variable_of(each) for each in (*fields, *_FREE)}


def setting(name: str) -> None:
    """A field, or a variable without its prefix, that the spec has no key for; whether there is such a one the
    release's own definition says. Raises RefusedError."""
    if name.lower() in _REFUSED:
        raise RefusedError(*_REFUSED[name.lower()])
    here = key_elsewhere((*AT, name))
    if here and not here.startswith(".".join(AT)):
        raise RefusedError("Felix has no such setting", hint_of(here))


def _refused() -> Iterator[tuple[str, tuple[str, str]]]:
    """By both names, in small letters."""
    of_keys = {name: ("it has a key of its own", f"use network.calico.{key}") for name, key in _KEYS.items()}
    settled = dict.fromkeys(_SETTLED, ("Calico settles it by itself", "leave it out"))
    for field, said in {**of_keys, **_OTHERWISE, **settled}.items():
        yield field.lower(), said
        yield variable_of(field).removeprefix(PREFIX).lower(), said


_REFUSED = MappingProxyType(dict(_refused()))
