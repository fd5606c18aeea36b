"""Files of a publisher, compared with the checksum that he states; an interrupted download goes on where
it was.
"""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import urllib3

from provisioner.bundle.store import CHUNK, hash_file
from provisioner.errors import ProvisionError

if TYPE_CHECKING:
    from urllib3.response import BaseHTTPResponse

STALL_SECONDS = 15.0
_ATTEMPTS = 4
_LARGEST_STATEMENT = 8 << 20
_HEXADECIMAL = re.compile(r"[0-9a-fA-F]{64}")

Seen = Callable[[int, int | None], None]


def client(url: str) -> urllib3.PoolManager:
    """Connections to the host of `url`, through the proxy that the user's environment names for it."""
    parts = urlsplit(url)
    proxy = urllib.request.getproxies().get(parts.scheme)
    timeout = urllib3.Timeout(connect=STALL_SECONDS, read=STALL_SECONDS)
    if proxy and not urllib.request.proxy_bypass(parts.netloc):
        return urllib3.ProxyManager(proxy, timeout=timeout)
    return urllib3.PoolManager(timeout=timeout)


def fetch(url: str, checksum: str, directory: Path, seen: Seen, *, sha256: str = "") -> Path:
    """Download `url` into `directory` (the caller owns the file then); `seen` gets the bytes so far and in
    all. With `sha256` no statement at `checksum` is read.

    Raises ProvisionError when the publisher states no checksum or another one, or when nothing comes any
    more.
    """
    wanted = sha256 or stated_sha256(_read_small(checksum), _name(url))
    if wanted is None:
        raise ProvisionError(f"{checksum} states no SHA-256 of {_name(url)}")
    directory.mkdir(parents=True, exist_ok=True)
    partial = directory / f"{wanted}.partial"
    if not (partial.exists() and hash_file(partial)[0] == f"sha256:{wanted}"):
        _complete(url, partial, seen)
    digest, size = hash_file(partial)
    if digest != f"sha256:{wanted}":
        partial.unlink()
        stated = "the catalogue wants" if sha256 else "the publisher states"
        raise ProvisionError(
            f"{url}: the {size} bytes have {digest}, {stated} sha256:{wanted}",
            "the file was changed on its way, or the publisher changed it; run again to download it anew",
        )
    return partial


def stated_sha256(statement: bytes, name: str) -> str | None:
    """The SHA-256 of the file `name` in a publisher's statement.

    Forms: the bare digest, lines of `digest  name`, and GitHub's JSON description of a release.
    """
    text = statement.decode("utf-8", "replace").strip()
    if text.startswith("{"):
        return _from_github(json.loads(text), name)
    lines = [line.split() for line in text.splitlines()]
    for words in lines:
        if (
            len(words) > 1
            and words[1].removeprefix("*").removeprefix("./") == name
            and _HEXADECIMAL.fullmatch(words[0])
        ):
            return words[0].lower()
    if len(lines) == 1 and len(lines[0]) == 1 and _HEXADECIMAL.fullmatch(lines[0][0]):
        return lines[0][0].lower()
    return None


def _from_github(release: Mapping[str, object], name: str) -> str | None:
    assets = release.get("assets")
    for asset in assets if isinstance(assets, list) else ():
        algorithm, _, digest = str(asset.get("digest")).partition(":")
        if asset.get("name") == name and algorithm == "sha256" and _HEXADECIMAL.fullmatch(digest):
            return digest.lower()
    return None


def _name(url: str) -> str:
    return urlsplit(url).path.rpartition("/")[2]


def _read_small(url: str) -> bytes:
    try:
        response = client(url).request(
            "GET", url, preload_content=False, retries=urllib3.Retry(3, backoff_factor=0.5)
        )
        body = response.read(_LARGEST_STATEMENT)
    except urllib3.exceptions.HTTPError as error:
        raise ProvisionError(f"{url}: {error}", "use --source module, or look at the network") from error
    if response.status != HTTPStatus.OK:
        raise ProvisionError(
            f"{url}: HTTP {response.status}", "the publisher has no such release; use --source module"
        )
    return body


def _complete(url: str, partial: Path, seen: Seen) -> None:
    """Bring `partial` to its whole size, beginning where it ends."""
    for attempt in range(1, _ATTEMPTS + 1):
        before = partial.stat().st_size if partial.exists() else 0
        try:
            if _continue(url, partial, before, seen):
                return
        except (urllib3.exceptions.HTTPError, OSError) as error:
            # As long as something came, it is worth going on.
            grown = partial.exists() and partial.stat().st_size > before
            if attempt == _ATTEMPTS and not grown:
                raise ProvisionError(
                    f"{url}: {error}", "run again: the download goes on where it was"
                ) from error
    raise ProvisionError(
        f"{url}: the download ended early {_ATTEMPTS} times", "run again: it goes on where it was"
    )


def _continue(url: str, partial: Path, position: int, seen: Seen) -> bool:
    """One request. True when the file is whole."""
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={position}-"} if position else {})
    response = client(url).request(
        "GET", url, headers=headers, preload_content=False, retries=urllib3.Retry(False, redirect=5)
    )
    try:
        if response.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            # Nothing is left, or the file has become shorter: its digest tells.
            return True
        if response.status not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
            raise ProvisionError(f"{url}: HTTP {response.status}")
        resumed = response.status == HTTPStatus.PARTIAL_CONTENT and _begins_at(response, position)
        return _append(response, partial, position if resumed else 0, seen)
    finally:
        response.close()


def _begins_at(response: BaseHTTPResponse, position: int) -> bool:
    return response.headers.get("Content-Range", "").startswith(f"bytes {position}-")


def _append(response: BaseHTTPResponse, partial: Path, position: int, seen: Seen) -> bool:
    length = response.headers.get("Content-Length")
    total = position + int(length) if length else None
    with partial.open("r+b" if position else "wb") as file:
        file.seek(position)
        for chunk in response.stream(CHUNK, decode_content=False):
            file.write(chunk)
            seen(file.tell(), total)
        return total is None or file.tell() == total
