"""A real learner that speaks TLS and asks for certificates and tokens. Needs ANYTIME_LEARNER, and in ANYTIME_TEST_SECRETS
a directory that `anytime certs` made; tests/tests/python_client.rs starts it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from anytime_client import AnytimeError, Client

SECRETS = Path(os.environ.get("ANYTIME_TEST_SECRETS", ""))

pytestmark = [
    pytest.mark.learner,
    pytest.mark.skipif("ANYTIME_TEST_SECRETS" not in os.environ, reason="ANYTIME_TEST_SECRETS has no directory"),
]

JOB = {"name": "x", "kind": "sft", "model": {"path": "nowhere"}, "data": {"path": "nowhere"}, "training": {"steps": 1}}


def client(certificate: str | None = None, token: str | None = None) -> Client:
    files: dict[str, Any] = {"tls_ca": SECRETS / "ca.pem"}
    if certificate:
        files |= {"tls_cert": SECRETS / f"{certificate}.pem", "tls_key": SECRETS / f"{certificate}.key"}
    if token:
        files["token_file"] = SECRETS / f"{token}.token"
    return Client(**files)


def code(call: Callable[[], Any]) -> str:
    try:
        call()
    except AnytimeError as error:
        return error.code.name
    return "OK"


def test_certificates_and_tokens_have_their_roles() -> None:
    for certificate, token, looks, submits in (
        ("submit", None, "OK", "INVALID_ARGUMENT"),
        ("read", None, "OK", "PERMISSION_DENIED"),
        ("act", None, "PERMISSION_DENIED", "PERMISSION_DENIED"),
        # Where a token is shown, it alone decides.
        ("read", "submit", "OK", "INVALID_ARGUMENT"),
        ("submit", "read", "OK", "PERMISSION_DENIED"),
    ):
        with client(certificate, token) as caller:
            assert code(caller.jobs) == looks, (certificate, token)
            assert code(lambda: caller.submit(JOB)) == submits, (certificate, token)
            assert code(lambda: list(caller.watch("x"))) == ("NOT_FOUND" if looks == "OK" else looks)


def test_whoever_shows_no_certificate_gets_no_connection() -> None:
    with client(token="submit") as caller, pytest.raises(AnytimeError) as caught:
        caller.jobs()
    assert caught.value.code is grpc.StatusCode.UNAVAILABLE


def test_a_setting_at_fault_is_named() -> None:
    with client("submit") as caller, pytest.raises(AnytimeError) as caught:
        caller.submit(JOB)
    assert caught.value.field in ("model.path", "data.path")
