"""Who may ask: the Host, Origin and Sec-Fetch-Site of a request, judged the same for every route and for websockets."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from modules.core.settings import Settings

LOOPBACK = ("localhost", "127.0.0.1", "::1")
WILDCARDS = ("", "0.0.0.0", "::")
# A person may follow a link from another site to these; nothing else is fetched across sites.
NAVIGABLE = ("/", "/login")
SAFE = ("GET", "HEAD")
FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host")

_AUTHORITY = re.compile(r"(?:\[(?P<six>[0-9a-f:.]+)\]|(?P<name>[a-z0-9._-]+))(?::(?P<port>[0-9]{1,5}))?")


@dataclass(frozen=True)
class Refusal:
    """Why a request does not come in: the answer's status, code, message and hint."""

    status: int
    code: str
    message: str
    hint: str


@dataclass(frozen=True)
class Origins:
    """The names under which the program answers.

    ``names`` come from the bind address and the loopback names, ``public`` from ``--public-host``. With ``anywhere``
    (a bind to all addresses) the address that the connection reached is a name too: a rebound DNS name never is.
    """

    names: frozenset[str]
    public: frozenset[str]
    anywhere: bool

    @classmethod
    def of(cls, settings: Settings) -> "Origins":
        """The policy that follows from the settings."""
        bind = settings.host.strip("[]").lower()
        public = frozenset(part.strip().lower() for part in settings.public_host.split(",") if part.strip())
        own = frozenset(LOOPBACK) | ({bind} - set(WILDCARDS))
        return cls(frozenset(own), public, bind in WILDCARDS)

    def refusal(
        self, *, method: str, path: str, headers: Mapping[str, str], reached: str, secure: bool
    ) -> Refusal | None:
        """Judge one request; None lets it in.

        ``headers`` have lower-case names (a repeated Host arrives joined by a comma and is refused), ``reached`` is
        the local address of the connection, ``secure`` says that it is TLS.
        """
        host = headers.get("host", "")
        if not self._knows(host, reached):
            return Refusal(
                421, "unknown_host", "This program does not answer under that host name.",
                "Open it as http://127.0.0.1 and its port, or start it with --public-host NAME.",
            )  # fmt: skip
        if not self.public and any(name in headers for name in FORWARDED):
            return Refusal(
                421, "forwarded", "The request came through a proxy or a tunnel, which was not announced.",
                "Start the program with --public-host and the name that people open.",
            )  # fmt: skip
        origin = headers.get("origin")
        if origin is not None and not self._equal(origin, host, secure):
            return _foreign()
        if headers.get("sec-fetch-site", "none") not in ("same-origin", "none") and not _navigates(
            method, path, headers
        ):
            return _foreign()
        return None

    def _knows(self, host: str, reached: str) -> bool:
        name, _ = _split(host)
        return bool(name) and (name in self.names or name in self.public or (self.anywhere and name == reached))

    def _equal(self, origin: str, host: str, secure: bool) -> bool:
        """Whether the Origin is this very host and port; TLS may end before us only under a public name."""
        scheme, found, rest = origin.lower().partition("://")
        name, port = _split(rest)
        asked, asked_port = _split(host)
        if not found or not name or name != asked:
            return False
        standard = {"http": 80, "https": 443}.get(scheme)
        if standard is None or (name not in self.public and (scheme == "https") != secure):
            return False
        return (port or standard) == (asked_port or standard)


def _split(authority: str) -> tuple[str, int | None]:
    """("name", port) of ``name:port`` or ``[v6]:port``; ("", None) for anything else."""
    match = _AUTHORITY.fullmatch(authority.lower())
    if match is None:
        return "", None
    return match["six"] or match["name"], int(match["port"]) if match["port"] else None


def _navigates(method: str, path: str, headers: Mapping[str, str]) -> bool:
    return (
        method in SAFE
        and path in NAVIGABLE
        and headers.get("sec-fetch-mode") == "navigate"
        and headers.get("sec-fetch-dest") == "document"
    )


def _foreign() -> Refusal:
    return Refusal(
        403, "foreign_origin", "The request comes from another website.", "Open the program's own page instead."
    )
