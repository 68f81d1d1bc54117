"""How the learner is called: the address, TLS, the token, and limits. docs/security.md says what each of them is."""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import grpc

from .errors import AnytimeError, invalid

#: Where a learner listens that is started without arguments.
DEFAULT_ADDRESS = "http://127.0.0.1:7100"

#: The largest message that the service sends.
MAX_MESSAGE_BYTES = 64 * 1024 * 1024

_TOKEN = re.compile(r"[A-Za-z0-9\-._~+/=]{22,512}")

_OPTIONS: list[tuple[str, int]] = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    # A learner whose machine has vanished is noticed.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    # One that was restarted is found again at once.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 3_000),
    # As the command line: a proxy of the environment is for the web.
    ("grpc.enable_http_proxy", 0),
]


class Token:
    """A token in a file, which is read again when the file changes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = self._look()
        self._token = self._read()

    def value(self) -> str:
        """The token now. What is no token any more leaves the one before."""
        try:
            stamp = self._look()
            if stamp != self._stamp:
                self._token = self._read()
                self._stamp = stamp
        except AnytimeError:
            pass
        return self._token

    def _look(self) -> tuple[int, int, int]:
        try:
            status = self._path.stat()
        except OSError as error:
            raise invalid(f"token_file {self._path}: {error.strerror}", "token_file") from None
        return (status.st_mtime_ns, status.st_size, status.st_ino)

    def _read(self) -> str:
        token = _read(self._path, "token_file").decode("utf-8", "replace").strip()
        # Says nothing of the token itself.
        if not _TOKEN.fullmatch(token):
            reason = f"token_file {self._path}: a token has 22 to 512 letters, digits and `-._~+/=`"
            raise invalid(reason, "token_file")
        return token


@dataclass(frozen=True)
class Connection:
    """A channel, and what is shown with every call on it."""

    address: str
    channel: grpc.Channel
    token: Token | None

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The metadata of a call."""
        return (("authorization", f"Bearer {self.token.value()}"),) if self.token else ()


def connect(
    address: str | None = None,
    *,
    tls_ca: str | os.PathLike[str] | None = None,
    tls_cert: str | os.PathLike[str] | None = None,
    tls_key: str | os.PathLike[str] | None = None,
    token_file: str | os.PathLike[str] | None = None,
    insecure: bool | None = None,
) -> Connection:
    """Makes a channel that connects on first use. What is None is taken from the environment, by the variables of the
    command line.

    Raises:
        AnytimeError: INVALID_ARGUMENT with the argument at fault.
    """
    address = address or os.environ.get("ANYTIME_LEARNER") or DEFAULT_ADDRESS
    ca, cert, key, token_path = (
        _path(given, variable)
        for given, variable in (
            (tls_ca, "ANYTIME_TLS_CA"),
            (tls_cert, "ANYTIME_TLS_CERT"),
            (tls_key, "ANYTIME_TLS_KEY"),
            (token_file, "ANYTIME_TOKEN_FILE"),
        )
    )
    if insecure is None:
        insecure = os.environ.get("ANYTIME_INSECURE", "").lower() not in ("", "0", "n", "no", "f", "false", "off")
    if (cert is None) != (key is None):
        raise invalid("tls_cert and tls_key belong together; give both or neither", "tls_cert" if cert else "tls_key")
    # An address that says nothing else is called over TLS where somebody said whom to trust.
    if "://" not in address:
        address = f"{'https' if ca else 'http'}://{address}"
    target, host, is_secure = _target(address)
    token = Token(token_path) if token_path else None
    if token and not is_secure and not insecure and not _is_this_machine(host):
        raise invalid(
            f"learner address {address}: the token of token_file would travel unencrypted to another machine; write "
            "https://, or give insecure=True",
            "token_file",
        )
    if not is_secure:
        return Connection(address, grpc.insecure_channel(target, options=_OPTIONS), token)
    credentials = grpc.ssl_channel_credentials(
        root_certificates=_read(ca, "tls_ca") if ca else None,
        private_key=_read(key, "tls_key") if key else None,
        certificate_chain=_read(cert, "tls_cert") if cert else None,
    )
    return Connection(address, grpc.secure_channel(target, credentials, options=_OPTIONS), token)


def _path(given: str | os.PathLike[str] | None, variable: str) -> Path | None:
    value = given if given is not None else os.environ.get(variable)
    return Path(value) if value else None


def _target(address: str) -> tuple[str, str, bool]:
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise invalid(f"learner address `{address}`: {error}", "address") from None
    if parts.scheme not in ("http", "https") or not host:
        raise invalid(f"learner address `{address}`: it must be http://HOST:PORT or https://HOST:PORT", "address")
    is_secure = parts.scheme == "https"
    port = port or (443 if is_secure else 80)
    named = f"[{host}]" if ":" in host else host
    return f"{named}:{port}", host, is_secure


def _is_this_machine(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return bool((mapped or found).is_loopback)


def _read(path: Path, field: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise invalid(f"{field} {path}: {error.strerror or error}", field) from None
