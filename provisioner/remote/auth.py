"""Logging in with as few attempts as possible: servers count failures and penalise whoever collects them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import paramiko
from paramiko.pkey import PublicBlob, UnknownKeyType

from provisioner.errors import UnreachableError
from provisioner.remote.dial import fault_of
from provisioner.remote.route import Hop

_ATTEMPTS_MAX = 5
"""sshd closes at MaxAuthTries, 6 by default; one is left for the password."""
_FAILURES = (paramiko.SSHException, EOFError, OSError)
_DEFAULT_NAMES = ("id_ed25519", "id_ecdsa", "id_rsa")


class KeyRing:
    """Private keys by path, each read once a run: loading an RSA key costs more than a login. Thread-safe."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or Path("~/.ssh").expanduser()
        self._keys: dict[Path, paramiko.PKey] = {}
        self._agent: tuple[paramiko.AgentKey, ...] | None = None
        self._lock = threading.Lock()

    def load(self, path: Path) -> paramiko.PKey:
        """The key in `path`. Raises UnreachableError when it is missing, unreadable or needs a passphrase."""
        with self._lock:
            if path not in self._keys:
                self._keys[path] = _read(path)
            return self._keys[path]

    def agent_keys(self) -> tuple[paramiko.AgentKey, ...]:
        """The agent's keys; none when no agent answers."""
        with self._lock:
            if self._agent is None:
                self._agent = _ask_agent()
            return self._agent

    def default_files(self) -> tuple[Path, ...]:
        """OpenSSH's default key files that exist."""
        return tuple(path for name in _DEFAULT_NAMES if (path := self._folder / name).is_file())


def authenticate(transport: paramiko.Transport, hop: Hop, ring: KeyRing) -> None:
    """Log in as `hop` says. Raises UnreachableError with every attempt that was made."""
    tried: list[str] = []
    for label, key in _candidates(hop, ring, tried):
        tried.append(label)
        try:
            # What is left to do is a list of further methods; empty means that the server let us in.
            if not transport.auth_publickey(hop.user, key):
                return
            break
        except _FAILURES as error:
            if not transport.is_active():
                raise _gone(hop, tried, transport, error) from error
    if hop.password is not None:
        tried.append("the password")
        try:
            if not transport.auth_password(hop.user, hop.password.reveal()):
                return
        except _FAILURES as error:
            raise _refused(hop, tried, str(error)) from error
    raise _refused(hop, tried, "")


def _candidates(hop: Hop, ring: KeyRing, skipped: list[str]) -> Iterator[tuple[str, paramiko.PKey]]:
    seen: set[bytes] = set()
    for label, key in _all_keys(hop, ring, skipped):
        if key.asbytes() not in seen and len(seen) < _ATTEMPTS_MAX:
            seen.add(key.asbytes())
            yield label, key


def _all_keys(hop: Hop, ring: KeyRing, skipped: list[str]) -> Iterator[tuple[str, paramiko.PKey]]:
    agent = ring.agent_keys() if not hop.only_key_files or hop.key_files else ()
    by_blob = {key.asbytes(): key for key in agent}
    for path in hop.key_files:
        yield from _named(path, ring, by_blob, skipped)
    if hop.only_key_files:
        return
    for key in agent:
        yield f"the agent's key {key.fingerprint}", key
    for path in ring.default_files():
        yield from _named(path, ring, by_blob, skipped)


def _named(
    path: Path, ring: KeyRing, agent: dict[bytes, paramiko.AgentKey], skipped: list[str]
) -> Iterator[tuple[str, paramiko.PKey]]:
    """The key of a file; the agent's copy when the file has a passphrase or only FILE.pub is here."""
    try:
        yield str(path), ring.load(path)
    except UnreachableError as error:
        public = _public_blob(path.with_name(path.name + ".pub"))
        if public in agent:
            yield f"{path} (from the agent)", agent[public]
        else:
            skipped.append(error.reason)


def _read(path: Path) -> paramiko.PKey:
    try:
        return paramiko.PKey.from_path(path)
    except (paramiko.PasswordRequiredException, TypeError) as error:
        raise UnreachableError(
            f"{path} (needs a passphrase and is not in the agent)", f"ssh-add {path}"
        ) from error
    except OSError as error:
        raise UnreachableError(f"{path} ({error.strerror})") from error
    except (ValueError, paramiko.SSHException, UnknownKeyType) as error:
        raise UnreachableError(f"{path} (not a private key that can be read)") from error


def _public_blob(path: Path) -> bytes | None:
    try:
        blob = PublicBlob.from_file(path).key_blob
    except (OSError, ValueError):
        return None
    return bytes(blob)


def _ask_agent() -> tuple[paramiko.AgentKey, ...]:
    try:
        return paramiko.Agent().get_keys()
    except (paramiko.SSHException, OSError):
        return ()


def _gone(hop: Hop, tried: list[str], transport: paramiko.Transport, error: Exception) -> UnreachableError:
    """The connection ended in the middle of the login: by the server, which had enough of us, or by the network."""
    fault = fault_of(transport)
    if isinstance(fault, OSError) and fault.strerror:
        return UnreachableError(
            f"{hop}: the connection broke during the login: {fault.strerror}",
            "is the host up, and the network between?",
        )
    return _refused(hop, tried, str(error))


def _refused(hop: Hop, tried: list[str], said: str) -> UnreachableError:
    attempts = "; tried " + ", ".join(tried) if tried else "; there was no key to try"
    detail = f" ({said})" if said and said != "Authentication failed." else ""
    named = "ansible_ssh_private_key_file, or load it, and it alone, with ssh-add"
    # A password that was tried is what is meant to let us in; where none was, a key is.
    mend = f"name the key with {named}"
    if hop.password is not None:
        mend = f"is ansible_password right, and does sshd take passwords? A key is named with {named}"
    return UnreachableError(
        f"{hop} refuses the login{attempts}{detail}",
        f"try `ssh -p {hop.port} {hop.user}@{hop.address}`; {mend}",
    )
