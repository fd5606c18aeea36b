"""Reads an image from its publisher's registry, as the distribution specification 1.1 says, without an
account.
"""

from __future__ import annotations

import hashlib
import json
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import urllib3

from provisioner.bundle import download, oci, publish
from provisioner.bundle.catalogue import Component
from provisioner.bundle.oci import Descriptor
from provisioner.bundle.store import CHUNK, Finished, Store
from provisioner.engine.events import Emit, Progress
from provisioner.errors import ProvisionError

_ACCEPT = ", ".join((oci.INDEX, oci.MANIFEST, oci.DOCKER_INDEX, oci.DOCKER_MANIFEST))
_LARGEST_MANIFEST = 4 << 20
_HUB, _HUBS_NAMES = "registry-1.docker.io", ("docker.io", "index.docker.io")


def registry_of(reference: str) -> str:
    """The host to ask for an image; names without one are Docker Hub's, which has names of its own."""
    host = _named_host(reference)
    return _HUB if host in ("", *_HUBS_NAMES) else host


def _named_host(reference: str) -> str:
    host, _, rest = reference.partition("/")
    return host if rest and ({".", ":"} & set(host) or host == "localhost") else ""


def repository_of(reference: str) -> str:
    """The address of an image's repository."""
    name = reference.removeprefix(f"{_named_host(reference)}/")
    return f"https://{registry_of(reference)}/v2/{name}"


@dataclass(frozen=True)
class Repository:
    """`base` is the address of the repository: `https://HOST/v2/NAME`."""

    base: str
    pool: urllib3.PoolManager
    token: str = ""

    def open(self, path: str, accept: str = "*/*") -> urllib3.BaseHTTPResponse:
        headers = {"Accept": accept} | ({"Authorization": f"Bearer {self.token}"} if self.token else {})
        # urllib3 drops the token when a redirect leads to another host, as registries' storage does.
        retries = urllib3.Retry(
            4, backoff_factor=0.5, status_forcelist=(429, 502, 503, 504), raise_on_status=False
        )
        try:
            return self.pool.request(
                "GET", f"{self.base}/{path}", headers=headers, preload_content=False, retries=retries
            )
        except urllib3.exceptions.HTTPError as error:
            raise ProvisionError(f"{self.base}/{path}: {error}", "use --source module") from error


def image(component: Component, store: Store, emit: Emit) -> Finished:
    """Pull the image for the component's platform with its original blobs. Every blob's digest is checked."""
    base = repository_of(component.reference)
    return pull(Repository(base, download.client(base)), component, store, emit)


def pull(repository: Repository, component: Component, store: Store, emit: Emit) -> Finished:
    repository, data, media_type = _first(repository, component.tag)
    if media_type in (oci.INDEX, oci.DOCKER_INDEX):
        chosen = _for_platform(json.loads(data), component.platform, f"{component.reference}:{component.tag}")
        data, media_type = _manifest(repository, chosen.digest)
        if oci.digest_of(data) != chosen.digest:
            raise ProvisionError(f"{repository.base}: the manifest is not {chosen.digest}")
    document = json.loads(data)
    blobs = [Descriptor.parse(blob) for blob in (document["config"], *document["layers"])]
    for blob in blobs:
        if not store.has(blob):
            _fetch(repository, blob, component.name, store, emit)
    manifest = store.add_bytes(data, media_type)
    return Finished(publish.entry_for(component, manifest, "release"), (manifest, *blobs))


def _first(repository: Repository, tag: str) -> tuple[Repository, bytes, str]:
    """The manifest of a tag, with the repository as it has to be asked from then on (with a token if it
    wants one).
    """
    response = repository.open(f"manifests/{tag}", _ACCEPT)
    if response.status == HTTPStatus.UNAUTHORIZED:
        repository = Repository(repository.base, repository.pool, _token(repository, response.headers))
        response = repository.open(f"manifests/{tag}", _ACCEPT)
    return (repository, *_body(repository, response, tag))


def _manifest(repository: Repository, reference: str) -> tuple[bytes, str]:
    return _body(repository, repository.open(f"manifests/{reference}", _ACCEPT), reference)


def _body(repository: Repository, response: urllib3.BaseHTTPResponse, reference: str) -> tuple[bytes, str]:
    data = response.read(_LARGEST_MANIFEST)
    if response.status != HTTPStatus.OK:
        raise ProvisionError(
            f"{repository.base}/manifests/{reference}: HTTP {response.status}", "use --source module"
        )
    return data, response.headers.get("Content-Type", "").partition(";")[0]


def _token(repository: Repository, headers: Mapping[str, str]) -> str:
    """An anonymous token from the place that the challenge names (RFC 6750, Docker's token specification)."""
    scheme, _, rest = headers.get("WWW-Authenticate", "").partition(" ")
    wanted = urllib.request.parse_keqv_list(urllib.request.parse_http_list(rest)) if rest else {}
    if scheme.lower() != "bearer" or "realm" not in wanted:
        raise ProvisionError(
            f"{repository.base} wants a login that this tool does not know: {scheme or 'none named'}"
        )
    query = urlencode([(key, wanted[key]) for key in ("service", "scope") if key in wanted])
    answer = repository.pool.request(
        "GET", f"{wanted['realm']}?{query}", retries=urllib3.Retry(3, backoff_factor=0.5)
    )
    if answer.status != HTTPStatus.OK:
        raise ProvisionError(f"{wanted['realm']}: HTTP {answer.status}")
    document = answer.json()
    return str(document.get("token") or document["access_token"])


def _for_platform(index: Mapping[str, Any], platform: str, reference: str) -> Descriptor:
    for raw in index["manifests"]:
        entry = Descriptor.parse(raw)
        if entry.platform == platform:
            return entry
    raise ProvisionError(f"{reference} is not published for {platform}")


def _fetch(repository: Repository, blob: Descriptor, component: str, store: Store, emit: Emit) -> None:
    response = repository.open(f"blobs/{blob.digest}")
    if response.status != HTTPStatus.OK:
        raise ProvisionError(f"{repository.base}/blobs/{blob.digest}: HTTP {response.status}")
    with store.workspace() as workspace:
        target = workspace / "blob"
        digest = _write(response, target, blob.size, component, emit)
        if digest != blob.digest:
            raise ProvisionError(f"{repository.base}: the blob {blob.digest} has {digest}", "run again")
        store.add_file(target, blob.media_type)


def _write(response: urllib3.BaseHTTPResponse, target: Path, size: int, component: str, emit: Emit) -> str:
    hasher = hashlib.sha256()
    with target.open("wb") as file:
        for chunk in response.stream(CHUNK, decode_content=False):
            hasher.update(chunk)
            file.write(chunk)
            emit(Progress(task="pull", subject=component, done=file.tell(), total=size, unit="bytes"))
    return "sha256:" + hasher.hexdigest()
