"""The guide to clients: its commands call methods that there are, with requests that can be read."""

from __future__ import annotations

import ast
import json
import re
import shlex
from pathlib import Path

import anytime_client
import pytest
from anytime_client import Client, to_spec, v1
from google.protobuf import descriptor_pool, json_format, message_factory

from test_settings import ROOT

GUIDE = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def commands() -> list[list[str]]:
    """The calls of grpcurl, as a shell splits them."""
    script = "".join(blocks(GUIDE, "sh")).replace("\\\n", " ")
    lexer = shlex.shlex(script, posix=True, punctuation_chars=";\n")
    lexer.whitespace = " \t"
    lexer.whitespace_split = True
    found: list[list[str]] = [[]]
    for word in lexer:
        if set(word) <= {";", "\n"}:
            found.append([])
        else:
            found[-1].append(word)
    return [words for words in found if words and words[0] in ("grpcurl", "call") and "()" not in words[0]]


CALLS = [words for words in commands() if "/" in words[-1]]


def test_there_are_calls_of_every_service_for_clients() -> None:
    methods = {words[-1] for words in CALLS}
    assert {"anytime.v1.JobService/Submit", "anytime.v1.JobService/Watch", "anytime.v1.VerifierService/Verify"} <= methods
    assert len(CALLS) > 8 and len(commands()) > len(CALLS)


@pytest.mark.parametrize("words", CALLS, ids=lambda words: words[-1])
def test_a_call_has_a_method_and_a_request(words: list[str]) -> None:
    service, _, name = words[-1].partition("/")
    request = words[words.index("-d") + 1] if "-d" in words else "{}"
    if service.startswith("grpc."):
        json.loads(request)
        return
    v1.VerifyRequest()
    method = descriptor_pool.Default().FindServiceByName(service).methods_by_name[name]
    kind = message_factory.GetMessageClass(method.input_type)
    message = json_format.Parse(request, kind())
    assert words[-2].endswith((":7100", ":7102")) and ("-d" not in words or message.ByteSize() > 0)


def test_python_calls_methods_that_there_are() -> None:
    code = blocks(GUIDE, "python") + blocks(README, "python")
    assert len(code) == 4
    for block in code:
        ast.parse(block)
        for name in re.findall(r"\bclient\.(\w+)\(", block):
            assert callable(getattr(Client, name)), name
        for line in re.findall(r"^from anytime_client import (.+)$", block, flags=re.MULTILINE):
            assert all(hasattr(anytime_client, name.strip()) for name in line.split(","))
    table = re.findall(r"^\| `(.+?)` \|", GUIDE, flags=re.MULTILINE)
    named = {name for row in table for name in re.findall(r"(\w+)\(", row)}
    public = {name for name in vars(Client) if not name.startswith("_")} - {"address", "close", "dead_group"}
    assert named == public


def test_the_settings_of_the_guide_are_a_job() -> None:
    (settings,) = [ast.literal_eval(found) for found in re.findall(r"^settings = (\{.*?^\})", GUIDE, re.M | re.S)]
    spec = to_spec(settings)
    assert spec.kind == v1.JOB_KIND_TRAIN and spec.objective.kimi.length_weight == 0.5
