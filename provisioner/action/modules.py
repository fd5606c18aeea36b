"""The names by which tasks may call kinds; kinds.py and clusterkinds.py, slow to import, have the kinds themselves."""

from __future__ import annotations

BASE_MODULES = (
    "file", "copy", "template", "unarchive", "systemd_service", "sysctl", "modprobe", "seboolean", "user", "package",
    "command", "absent_paths", "displaced_paths", "migrated_mirrors", "ethtool",
)  # fmt: skip
CLUSTER_MODULES = (
    "artifact", "image", "pulled_image", "preloaded_image", "certificate", "kubeconfig", "manifest", "node_joined",
    "bootstrap_token", "bootstrap_kubeconfig", "etcd_seed", "etcd_member", "calico_reflectors",
    "calico_mesh",
    "endpoint_switch", "api_certificate", "kubeconfig_server",
)  # fmt: skip
