"""Who we are to a registry: Basic, or Bearer tokens that a token service issues (Docker's token
specification).
"""

from __future__ import annotations

import base64
import json
import ssl
import threading
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import urlencode, urlsplit

from provisioner.errors import ProvisionError

# Asks the registry's own host for a token; None when the service is elsewhere.
OwnService = Callable[[str, Mapping[str, str]], bytes | None]


@dataclass(frozen=True)
class Credentials:
    username: str
    password: str = field(repr=False)

    def basic(self) -> str:
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


@dataclass(frozen=True)
class Challenge:
    """A WWW-Authenticate header; `scheme` is in lower case."""

    scheme: str
    parameters: Mapping[str, str]

    @classmethod
    def parse(cls, header: str) -> Challenge:
        scheme, _, rest = header.strip().partition(" ")
        pairs = [item for item in urllib.request.parse_http_list(rest) if "=" in item]
        return cls(scheme.lower(), urllib.request.parse_keqv_list(pairs))


class Authorizer:
    """Answers challenges and remembers the answers. One token serves one set of scopes until it is
    refused.
    """

    def __init__(
        self, credentials: Credentials | None, own_service: OwnService, context: ssl.SSLContext
    ) -> None:
        self._credentials = credentials
        self._own_service = own_service
        self._context = context
        self._lock = threading.Lock()
        self._tokens: dict[tuple[str, ...], str] = {}
        self._basic = False

    def headers(self, scopes: tuple[str, ...]) -> dict[str, str]:
        if self._basic and self._credentials:
            return {"Authorization": self._credentials.basic()}
        token = self._tokens.get(scopes)
        return {"Authorization": f"Bearer {token}"} if token else {}

    def accept(self, header: str, scopes: tuple[str, ...]) -> bool:
        """Prepare the answer to a challenge. False when there is none: no account, or it was refused
        already.
        """
        challenge = Challenge.parse(header)
        if challenge.scheme == "basic":
            if self._basic or not self._credentials:
                return False
            self._basic = True
            return True
        if challenge.scheme != "bearer" or "realm" not in challenge.parameters:
            return False
        token = self._token(challenge, scopes)
        with self._lock:
            self._tokens[scopes] = token
        return True

    def _token(self, challenge: Challenge, scopes: tuple[str, ...]) -> str:
        query = [("scope", scope) for scope in scopes]
        if "service" in challenge.parameters:
            query.insert(0, ("service", challenge.parameters["service"]))
        url = f"{challenge.parameters['realm']}?{urlencode(query)}"
        headers = {"Authorization": self._credentials.basic()} if self._credentials else {}
        document = json.loads(self._own_service(url, headers) or self._elsewhere(url, headers))
        token = document.get("token") or document.get("access_token")
        if not token:
            raise ProvisionError(f"the token service {urlsplit(url).netloc} issued no token")
        return str(token)

    def _elsewhere(self, url: str, headers: Mapping[str, str]) -> bytes:
        import urllib3

        if urlsplit(url).scheme != "https":
            raise ProvisionError(
                f"the registry sends us to {url} for a token: a password does not go there without TLS"
            )
        context = self._context
        pool = urllib3.PoolManager(ssl_context=context, timeout=15.0)
        try:
            answer = pool.request(
                "GET", url, headers=dict(headers), retries=urllib3.Retry(3, redirect=0, backoff_factor=0.5)
            )
        except urllib3.exceptions.HTTPError as error:
            raise ProvisionError(f"the registry's token service does not answer: {error}") from error
        if answer.status != HTTPStatus.OK:
            raise ProvisionError(
                f"the token service {urlsplit(url).netloc}: HTTP {answer.status}",
                "are user and password right?",
            )
        return answer.data
