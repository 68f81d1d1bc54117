"""TLS, and certificates of callers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
import trustme
from anytime_client import AnytimeError, Client

from conftest import FakeLearner
from test_client import job_message


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A CA, a certificate for this machine and one of a caller; another CA."""
    ca, other = trustme.CA(), trustme.CA()
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    other.cert_pem.write_to_path(tmp_path / "other.pem")
    for name, certificate in (("server", ca.issue_cert("127.0.0.1")), ("submit", ca.issue_cert("submit"))):
        certificate.private_key_pem.write_to_path(tmp_path / f"{name}.key")
        certificate.cert_chain_pems[0].write_to_path(tmp_path / f"{name}.pem")
    (tmp_path / "token").write_text("a" * 32, encoding="utf-8")
    return tmp_path


def secure(files: Path, mutual: bool) -> FakeLearner:
    pair = ((files / "server.key").read_bytes(), (files / "server.pem").read_bytes())
    ca = (files / "ca.pem").read_bytes() if mutual else None
    learner = FakeLearner(grpc.ssl_server_credentials([pair], ca, require_client_auth=mutual))
    learner.on["Get"] = lambda *_: job_message()
    return learner


@pytest.fixture
def learner(files: Path) -> Iterator[FakeLearner]:
    fake = secure(files, mutual=False)
    yield fake
    fake.stop()


def test_a_learner_with_a_certificate_of_the_ca_is_trusted(learner: FakeLearner, files: Path) -> None:
    for address in (learner.address, learner.host):
        with Client(address, tls_ca=files / "ca.pem", token_file=files / "token") as client:
            assert client.address == learner.address and client.status("job").id == "job"
    assert learner.requests[0][2]["authorization"] == "Bearer " + "a" * 32


def test_a_learner_of_another_ca_is_not(learner: FakeLearner, files: Path) -> None:
    for ca in (files / "other.pem", None):
        with Client(learner.address, tls_ca=ca) as client, pytest.raises(AnytimeError) as caught:
            client.status("job")
        assert caught.value.code is grpc.StatusCode.UNAVAILABLE
    assert learner.requests == []


def test_a_certificate_is_shown_where_the_learner_asks(files: Path) -> None:
    learner = secure(files, mutual=True)
    ca = files / "ca.pem"
    with Client(learner.address, tls_ca=ca, tls_cert=files / "submit.pem", tls_key=files / "submit.key") as client:
        assert client.status("job").id == "job"
    with Client(learner.address, tls_ca=ca) as client, pytest.raises(AnytimeError) as caught:
        client.status("job")
    assert caught.value.code is grpc.StatusCode.UNAVAILABLE and len(learner.requests) == 1
    learner.stop()
