"""Who we are to a registry: Basic, or Bearer tokens that a token service issues (Docker's token
specification).
"""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode, urlsplit

from provisioner.errors import ProvisionError
from provisioner.registry.challenge import Challenge

_LIFETIME_SECONDS = 60.0
"""What a token lives whose service does not say (distribution, docs/spec/auth/token.md)."""
_USABLE = 0.75
"""The share of its life after which a token is replaced, so that no upload begins with one that is about to expire."""
_FOR_A_HEADER = re.compile(r"[!-~]+")

# What a token service answers, asked at a URL with these headers. Raises ProvisionError.
AskService = Callable[[str, Mapping[str, str]], bytes]


@dataclass(frozen=True)
class Credentials:
    username: str
    password: str = field(repr=False)

    def basic(self) -> str:
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


@dataclass(frozen=True)
class _Token:
    """`until` is when it is to be replaced, by time.monotonic()."""

    text: str = field(repr=False)
    challenge: Challenge
    until: float


class Authorizer:
    """Answers challenges and remembers the answers. One token serves one set of scopes until it is refused or old."""

    def __init__(self, credentials: Credentials | None, ask: AskService) -> None:
        self._credentials = credentials
        self._ask = ask
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
        if challenge.scheme != "bearer" or not challenge.realm:
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
        url = f"{challenge.realm}{'&' if '?' in challenge.realm else '?'}{urlencode(query)}"
        headers = {"Authorization": self._credentials.basic()} if self._credentials else {}
        data = self._ask(url, headers)
        try:
            document = json.loads(data)
            text = str(document.get("token") or document["access_token"])
            lifetime = float(document.get("expires_in") or _LIFETIME_SECONDS)
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
            text, lifetime = "", 0.0
        if not _FOR_A_HEADER.fullmatch(text):
            raise ProvisionError(f"the token service {urlsplit(url).netloc} issued no token")
        return _Token(text, challenge, time.monotonic() + _USABLE * lifetime)
