"""A learner that is no learner: the job service in this process, which answers what a test wants."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from anytime_client import Client, v1
from google.protobuf import message_factory

SERVICE = v1.job_pb2.DESCRIPTOR.services_by_name["JobService"]

#: What a test must not find in the environment of whoever runs it.
VARIABLES = ("LEARNER", "TLS_CA", "TLS_CERT", "TLS_KEY", "TOKEN_FILE", "INSECURE")


class FakeLearner:
    """Answers each method with the function of its name: `learner.on["Get"] = lambda request, context: …`. It keeps all
    requests with their metadata.
    """

    def __init__(self, credentials: grpc.ServerCredentials | None = None, address: str = "127.0.0.1:0") -> None:
        self.on: dict[str, Callable[[Any, grpc.ServicerContext], Any]] = {}
        self.requests: list[tuple[str, Any, dict[str, str]]] = []
        self._credentials = credentials
        self._start(address)

    def _start(self, address: str) -> None:
        self._server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
        handlers = {method.name: self._handler(method) for method in SERVICE.methods}
        generic = grpc.method_handlers_generic_handler(SERVICE.full_name, handlers)
        self._server.add_generic_rpc_handlers((generic,))
        if self._credentials is None:
            port = self._server.add_insecure_port(address)
        else:
            port = self._server.add_secure_port(address, self._credentials)
        self._server.start()
        self.host = f"127.0.0.1:{port}"
        scheme = "http" if self._credentials is None else "https"
        self.address = f"{scheme}://{self.host}"

    def _handler(self, method: Any) -> grpc.RpcMethodHandler:
        request_type = message_factory.GetMessageClass(method.input_type)

        def keep(request: Any, context: grpc.ServicerContext) -> Callable[..., Any]:
            metadata = {key: str(value) for key, value in context.invocation_metadata()}
            self.requests.append((method.name, request, metadata))
            answer = self.on.get(method.name)
            if answer is None:
                context.abort(grpc.StatusCode.UNIMPLEMENTED, f"the test answers no {method.name}")
                raise AssertionError("abort raises")
            return answer

        def one(request: Any, context: grpc.ServicerContext) -> Any:
            return keep(request, context)(request, context)

        def many(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            yield from keep(request, context)(request, context)

        kind = grpc.unary_stream_rpc_method_handler if method.server_streaming else grpc.unary_unary_rpc_method_handler
        return kind(
            many if method.server_streaming else one,
            request_deserializer=request_type.FromString,
            response_serializer=lambda answer: answer.SerializeToString(),
        )

    def stop(self) -> None:
        """Breaks all connections."""
        self._server.stop(None).wait()

    def restart(self) -> None:
        """Listens again where it did."""
        self._start(self.host)

    def names(self) -> list[str]:
        """The methods that were called."""
        return [name for name, _, _ in self.requests]


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("learner") is None:
        for name in VARIABLES:
            monkeypatch.delenv(f"ANYTIME_{name}", raising=False)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "learner: runs against the learner of ANYTIME_LEARNER")


@pytest.fixture
def learner() -> Iterator[FakeLearner]:
    fake = FakeLearner()
    yield fake
    fake.stop()


@pytest.fixture
def client(learner: FakeLearner) -> Iterator[Client]:
    with Client(learner.address, patience=5.0) as client:
        yield client
