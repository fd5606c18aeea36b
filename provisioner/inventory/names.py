"""Ansible's connection variables: which are read, which are refused, which do not matter."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType

from provisioner.inventory.words import distance

ALIASES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "address": ("ansible_host", "ansible_ssh_host"),
        "port": ("ansible_port", "ansible_ssh_port"),
        "user": ("ansible_user", "ansible_ssh_user"),
        "password": ("ansible_password", "ansible_ssh_password", "ansible_ssh_pass"),
        "key_file": ("ansible_private_key_file", "ansible_ssh_private_key_file"),
        "timeout": ("ansible_timeout", "ansible_ssh_timeout"),
        "host_key_checking": ("ansible_host_key_checking", "ansible_ssh_host_key_checking"),
        "become": ("ansible_become",),
        "become_user": ("ansible_become_user",),
        "become_password": ("ansible_become_password", "ansible_become_pass"),
    }
)
"""What a variable means, and the names that mean it, the newer first."""

SSH_ARGUMENTS = ("ansible_ssh_args", "ansible_ssh_common_args", "ansible_ssh_extra_args")

_KEY = "inline keys are not read"
_KEY_HINT = "use ansible_private_key_file, or an agent for keys with a passphrase"
_SSH = ("ssh", "smart", "paramiko", "paramiko_ssh", "ansible.builtin.ssh", "ansible.builtin.paramiko_ssh")
RESTRICTED: Mapping[str, tuple[Collection[str], str, str]] = MappingProxyType(
    {
        "ansible_connection": (
            _SSH,
            "only SSH reaches hosts",
            "to use this machine itself, log in to it over SSH",
        ),
        "ansible_become_method": (
            ("sudo", "ansible.builtin.sudo"),
            "only sudo is used",
            "log in as root, or use sudo",
        ),
        "ansible_become_exe": (("sudo", "/usr/bin/sudo"), "sudo is run by its name", "leave it out"),
        "ansible_become_flags": (
            ("-H", "-n", "-S", "-H -S", "-H -S -n"),
            "flags of sudo are fixed",
            "leave it out",
        ),
        "ansible_private_key": ((), _KEY, _KEY_HINT),
        "ansible_ssh_private_key": ((), _KEY, _KEY_HINT),
        "ansible_private_key_passphrase": ((), "keys with a passphrase are not read", _KEY_HINT),
        "ansible_ssh_private_key_passphrase": ((), "keys with a passphrase are not read", _KEY_HINT),
    }
)
"""Variables that are refused unless they have one of the allowed values: (allowed, reason, hint)."""

_WITHOUT_MEANING = """
python_interpreter shell_type shell_executable pipelining ssh_pipelining ssh_retries ssh_executable
sftp_extra_args sftp_executable scp_extra_args scp_executable scp_if_ssh ssh_transfer_method
control_path ssh_control_path control_path_dir ssh_control_path_dir ssh_use_tty group_priority
remote_tmp async_dir
network_os facts local version check_mode diff_mode forks limit run_tags verbosity ssh_host_key
distribution os_family architecture hostname
"""
IGNORED = frozenset(f"ansible_{name}" for name in _WITHOUT_MEANING.split())
"""Variables that are Ansible's and mean nothing here, or are facts."""

KNOWN = frozenset(
    {*(name for spelled in ALIASES.values() for name in spelled), *SSH_ARGUMENTS, *RESTRICTED, *IGNORED}
)


def misspelt(variables: Iterable[str]) -> Mapping[str, str]:
    """Variables that are most likely slips of connection variables, with the names that were meant."""
    found = {}
    for name in variables:
        if name in KNOWN or not _could_be_ansible(name):
            continue
        slips = [
            (distance(name.lower(), known), known) for known in KNOWN if abs(len(known) - len(name)) <= 2
        ]
        count, meant = min(slips, default=(99, ""))
        if count <= (2 if len(meant) > len("ansible_host") else 1) and meant not in IGNORED:
            found[name] = meant
    return found


def _could_be_ansible(name: str) -> bool:
    prefix = name[: len("ansible_")]
    return distance(prefix.lower(), "ansible_") <= 2
