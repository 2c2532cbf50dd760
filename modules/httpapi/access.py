"""Who holds the key where others can reach the program: a one-time link, its cookie, and a token for programs."""

import base64
import hashlib
import hmac
import json
import os
import secrets
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from modules.core import limits

SESSIONS = 64  # browsers that stay signed in; the oldest leaves
PEERS = 1_024  # addresses whose wrong tries are remembered
WINDOW_S = 60.0
YEAR_S = 365 * 24 * 3600

Verdict = Literal["admitted", "wrong", "too_often", "nothing"]


class Access:
    """The token, the open sessions and the wrong tries.

    ``file`` keeps the token and the sessions' hashes over a restart (readable by its owner only), so that an open page
    stays signed in. Tokens and sessions are 256 random bits.
    """

    def __init__(self, file: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._file = file
        self._clock = clock
        self._lock = threading.Lock()
        self._wrong: dict[str, deque[float]] = {}
        kept = _read(file)
        self.token: str = kept.get("token") or secrets.token_urlsafe(32)
        self._sessions: deque[str] = deque(kept.get("sessions", ()), maxlen=SESSIONS)
        self._key = secrets.token_urlsafe(32)
        self.on_used: Callable[[], None] | None = None  # a link was used: there is a new one for the next browser
        self._write()

    def link(self, base: str) -> str:
        """The address that signs one browser in, once; ``base`` is the program's own, without a final slash."""
        return f"{base}/login?key={self._key}"

    def exchange(self, key: str, peer: str) -> tuple[Verdict, str]:
        """Turn the link's key into a session: ("admitted", session), or why not and ""."""
        with self._lock:
            if self._blocked(peer):
                return "too_often", ""
            if not _same(key, self._key):
                return self._count(peer), ""
            self._key = secrets.token_urlsafe(32)
            session = secrets.token_urlsafe(32)
            self._sessions.append(_hash(session))
            self._write()
        if self.on_used:
            self.on_used()
        return "admitted", session

    def verdict(self, headers: Mapping[str, str], cookie: str, peer: str) -> Verdict:
        """Judge a request's cookie or Authorization (Bearer, or Basic whose password is the token).

        A stale cookie is not counted as a wrong try: an old tab would lock its owner out.
        """
        if self._knows(_cookie(headers.get("cookie", ""), cookie)):
            return "admitted"
        said = _authorization(headers.get("authorization", ""))
        if not said:
            return "nothing"
        with self._lock:
            if self._blocked(peer):
                return "too_often"
            return "admitted" if _same(said, self.token) else self._count(peer)

    def _knows(self, session: str) -> bool:
        hashed = _hash(session)
        with self._lock:
            return bool(session) and any([hmac.compare_digest(hashed, known) for known in self._sessions])

    def _blocked(self, peer: str) -> bool:
        tries = self._wrong.get(peer)
        while tries and self._clock() - tries[0] > WINDOW_S:
            tries.popleft()
        return bool(tries) and len(tries) >= limits.LOGIN_FAILURES_PER_MINUTE

    def _count(self, peer: str) -> Verdict:
        while peer not in self._wrong and len(self._wrong) >= PEERS:
            self._wrong.pop(next(iter(self._wrong)))
        self._wrong.setdefault(peer, deque(maxlen=limits.LOGIN_FAILURES_PER_MINUTE)).append(self._clock())
        return "wrong"

    def _write(self) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(dir=self._file.parent, prefix="access.", suffix=".part")  # mode 0600
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump({"token": self.token, "sessions": list(self._sessions)}, file)
            file.flush()
            os.fsync(file.fileno())
        Path(part).replace(self._file)


def set_cookie(name: str, session: str, secure: bool) -> bytes:
    """The Set-Cookie value of a new session."""
    flags = "; Secure" if secure else ""
    return f"{name}={session}; Path=/; Max-Age={YEAR_S}; HttpOnly; SameSite=Strict{flags}".encode()


def _read(file: Path) -> dict:
    try:
        found = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}  # a damaged file costs a sign-in, nothing else
    return found if isinstance(found, dict) else {}


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def _same(given: str, true: str) -> bool:
    return hmac.compare_digest(_hash(given), _hash(true))


def _cookie(header: str, name: str) -> str:
    """The value of one cookie. Programs on other ports share the header, so whatever else stands in it is passed over;
    http.cookies would drop ours with the first one that it cannot read.
    """
    pairs = (pair.strip().partition("=") for pair in header.split(";"))
    return next((value for key, _, value in pairs if key == name), "")


def _authorization(header: str) -> str:
    scheme, _, value = header.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(value.strip(), validate=True).decode("utf-8").partition(":")[2]
    except ValueError:
        return value
