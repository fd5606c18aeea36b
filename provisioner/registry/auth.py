"""Who we are to a registry: Basic, or Bearer tokens that a token service issues (Docker's token
specification).
"""

from __future__ import annotations

import base64
import json
import ssl
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import urlencode, urlsplit

from provisioner.errors import ProvisionError, UnreachableError
from provisioner.registry import tls

_LIFETIME_SECONDS = 60.0
"""What a token lives whose service does not say (distribution, docs/spec/auth/token.md)."""
_USABLE = 0.75
"""The share of its life after which a token is replaced, so that no upload begins with one that is about to expire."""

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


@dataclass(frozen=True)
class _Token:
    """`until` is when it is to be replaced, by time.monotonic()."""

    text: str = field(repr=False)
    challenge: Challenge
    until: float


class Authorizer:
    """Answers challenges and remembers the answers. One token serves one set of scopes until it is refused or old."""

    def __init__(
        self, credentials: Credentials | None, own_service: OwnService, context: ssl.SSLContext
    ) -> None:
        self._credentials = credentials
        self._own_service = own_service
        self._context = context
        self._lock = threading.Lock()
        self._tokens: dict[tuple[str, ...], _Token] = {}
        self._basic = False

    def headers(self, scopes: tuple[str, ...]) -> dict[str, str]:
        if self._basic and self._credentials:
            return {"Authorization": self._credentials.basic()}
        token = self._tokens.get(scopes)
        if token and time.monotonic() > token.until:
            token = self._renew(token.challenge, scopes)
        return {"Authorization": f"Bearer {token.text}"} if token else {}

    def bears(self, scopes: tuple[str, ...]) -> bool:
        """Whether a token is what speaks for us."""
        return scopes in self._tokens

    def accept(self, header: str, scopes: tuple[str, ...], used: Mapping[str, str]) -> bool:
        """Prepare the answer to a challenge. False when there is none: no account, or what was `used` is refused."""
        challenge = Challenge.parse(header)
        if challenge.scheme == "basic":
            if not self._credentials or used.get("Authorization") == self._credentials.basic():
                return False
            self._basic = True
            return True
        if challenge.scheme != "bearer" or "realm" not in challenge.parameters:
            return False
        self._renew(challenge, scopes)
        return True

    def _renew(self, challenge: Challenge, scopes: tuple[str, ...]) -> _Token:
        token = self._token(challenge, scopes)
        with self._lock:
            self._tokens[scopes] = token
        return token

    def _token(self, challenge: Challenge, scopes: tuple[str, ...]) -> _Token:
        query = [("scope", scope) for scope in scopes]
        if "service" in challenge.parameters:
            query.insert(0, ("service", challenge.parameters["service"]))
        realm = challenge.parameters["realm"]
        url = f"{realm}{'&' if '?' in realm else '?'}{urlencode(query)}"
        headers = {"Authorization": self._credentials.basic()} if self._credentials else {}
        data = self._own_service(url, headers) or self._elsewhere(url, headers)
        try:
            document = json.loads(data)
            text = str(document.get("token") or document["access_token"])
            lifetime = float(document.get("expires_in") or _LIFETIME_SECONDS)
        except (ValueError, TypeError, KeyError, AttributeError):
            raise ProvisionError(f"the token service {urlsplit(url).netloc} issued no token") from None
        return _Token(text, challenge, time.monotonic() + _USABLE * lifetime)

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
            distrust = tls.failure(urlsplit(url).netloc, error)
            raise distrust or UnreachableError(
                f"the registry's token service does not answer: {error}"
            ) from error
        if answer.status != HTTPStatus.OK:
            raise ProvisionError(
                f"the token service {urlsplit(url).netloc}: HTTP {answer.status}",
                "are user and password right?",
            )
        return answer.data
