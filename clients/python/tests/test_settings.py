"""Job files as messages, and back: every setting that the descriptors have, by the rules of the Rust client."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from anytime_client import AnytimeError, job_spec, settings_of, to_spec, v1
from anytime_client.settings import is_choice, is_map, short_name, tomllib
from google.protobuf.descriptor import Descriptor, FieldDescriptor

ROOT = Path(__file__).parents[3]
REFERENCE = ROOT / "deploy" / "jobs" / "reference.toml"

MINIMAL = 'name = "job"\nkind = "train"\n[model]\npath = "m"\n[data]\npath = "p.jsonl"\n[training]\nsteps = 3\n'


def fields(message: Descriptor, path: str = "") -> Iterator[tuple[str, FieldDescriptor]]:
    """All settings below a message, by their dotted names."""
    for field in message.fields:
        place = f"{path}{field.name}"
        if field.message_type is not None and not is_map(field):
            yield from fields(field.message_type, f"{place}.")
        else:
            yield place, field


SETTINGS = dict(fields(v1.JobSpec.DESCRIPTOR))


def example(field: FieldDescriptor) -> Any:
    """A value that a job file can have there."""
    if field.name == "labels":
        return {"team": "math", "note": "ä = 1"}
    if is_map(field):
        return {"enable_thinking": False, "depth": [1, {"a": 0.5}], "text": "ä"}
    if field.enum_type is not None:
        return short_name(field.enum_type, field.enum_type.values[-1].number)
    by_type = {
        FieldDescriptor.TYPE_BOOL: True,
        FieldDescriptor.TYPE_STRING: "a/b",
        FieldDescriptor.TYPE_INT32: -7,
        FieldDescriptor.TYPE_UINT32: 7,
        FieldDescriptor.TYPE_UINT64: 2**40,
        FieldDescriptor.TYPE_DOUBLE: 0.25,
    }
    value: Any = by_type[field.type]
    return [value, value] if field.is_repeated else value


def nested(path: str, value: Any) -> dict[str, Any]:
    for part in reversed(path.split(".")):
        value = {part: value}
    return dict(value)


def refused(settings: Any) -> AnytimeError:
    with pytest.raises(AnytimeError) as caught:
        job_spec(settings)
    assert caught.value.code.name == "INVALID_ARGUMENT"
    return caught.value


def test_there_are_settings_of_every_form() -> None:
    assert len(SETTINGS) > 100
    scalar = {field.type for field in SETTINGS.values() if not field.is_repeated}
    kinds = {"BOOL", "STRING", "INT32", "UINT32", "UINT64", "DOUBLE", "ENUM"}
    assert scalar == {getattr(FieldDescriptor, f"TYPE_{kind}") for kind in kinds}
    repeated = {field.type for field in SETTINGS.values() if field.is_repeated and not is_map(field)}
    assert repeated == {getattr(FieldDescriptor, f"TYPE_{kind}") for kind in ("STRING", "UINT32", "DOUBLE")}
    assert any(is_map(field) for field in SETTINGS.values())


def test_labels_are_texts_and_a_priority_is_whole() -> None:
    assert "labels.team: it is 3; it must be a text in quotes" in str(refused({"labels": {"team": 3}}))
    assert "priority: it is 2147483648; it must be a whole number" in str(refused({"priority": 2**31}))
    assert "priority: it is 0.5; it must be a whole number" in str(refused({"priority": 0.5}))


@pytest.mark.parametrize("path", SETTINGS)
def test_every_setting_is_written_and_read_again(path: str) -> None:
    settings = nested(path, example(SETTINGS[path]))
    spec = to_spec(settings)
    again = v1.JobSpec.FromString(spec.SerializeToString())
    assert settings_of(again) == settings
    assert to_spec(settings_of(again)) == spec


@pytest.mark.parametrize("path", SETTINGS)
def test_what_is_of_another_kind_is_refused_by_name(path: str) -> None:
    wrong = object() if is_map(SETTINGS[path]) else {"a": 1}
    error = refused(nested(path, wrong))
    assert error.field == path and path in error.reason


def test_the_reference_is_a_job_with_every_setting() -> None:
    text = REFERENCE.read_text(encoding="utf-8")
    spec = job_spec(REFERENCE)
    written = settings_of(spec)
    assert written == tomllib.loads(text) and spec.kind == v1.JOB_KIND_TRAIN
    # What is commented out is a setting too: the tables of other objectives, and what has no constant default.
    seen, section = set(), ""
    for line in text.splitlines():
        line = line.removeprefix("# ")
        if head := re.fullmatch(r"\[([a-z_.]+)\]", line):
            section = f"{head[1]}."
        elif setting := re.fullmatch(r"([a-z_0-9]+) = (.+)", line):
            path = f"{section}{setting[1]}"
            if path in SETTINGS:
                value = tomllib.loads(f"value = {setting[2]}")["value"]
                to_spec(nested(path, value))
                seen.add(path)
    assert seen == set(SETTINGS)


@pytest.mark.parametrize("path", sorted((ROOT / "deploy" / "jobs").glob("*.toml")), ids=lambda path: path.name)
def test_job_files_of_the_project_are_read(path: Path) -> None:
    assert settings_of(job_spec(path)) == tomllib.loads(path.read_text(encoding="utf-8"))


def test_a_job_is_a_table_a_path_a_text_or_a_message(tmp_path: Path) -> None:
    file = tmp_path / "job.toml"
    file.write_text(MINIMAL, encoding="utf-8")
    expected = job_spec(tomllib.loads(MINIMAL))
    assert job_spec(file) == job_spec(str(file)) == job_spec(MINIMAL) == job_spec(expected) == expected
    assert "no such file" in refused(tmp_path / "none.toml").reason.lower()
    file.write_bytes(b"\xff\n")
    assert "UTF-8" in refused(file).reason
    assert "line 2" in refused('name = "x"\n[model\n').reason
    assert "int" in refused(7).reason


def test_changes_lie_over_a_job() -> None:
    changes = {"training.steps": 9, "training": {"batch": 4}, "objective.kimi": {}, "data.path": ["a", "b"]}
    spec = job_spec(MINIMAL, changes)
    assert (spec.training.steps, spec.training.batch, spec.model.path) == (9, 4, "m")
    assert spec.objective.WhichOneof("settings") == "kimi" and list(spec.data.path) == ["a", "b"]
    assert job_spec(spec, {"training.steps": 2}).training.batch == 4
    assert spec.training.steps == 9, "what was given is left as it is"
    with pytest.raises(AnytimeError, match="training..steps"):
        job_spec(MINIMAL, {"training..steps": 1})


def test_an_empty_table_chooses_the_objective() -> None:
    names = [field.name for field in v1.ObjectiveSpec.DESCRIPTOR.fields if is_choice(field)]
    assert "brpo" in names
    for name in names:
        spec = v1.JobSpec.FromString(to_spec({"objective": {name: {}}}).SerializeToString())
        assert spec.objective.WhichOneof("settings") == name
        assert settings_of(spec) == {"objective": {name: {}}}


def test_refusals_say_what_the_rust_client_says() -> None:
    error = refused({"objective": {"kimi": {}, "gfpo": {}}})
    assert error.reason == "[objective.kimi] and [objective.gfpo] are both written; a job has one objective"
    error = refused({"objective": {"no_thinking_bonus": 0.1}})
    moved = "objective.no_thinking_bonus is now written as no_thinking_bonus under [objective.adaptthink]"
    assert error.reason == moved and error.field == "objective.no_thinking_bonus"
    error = refused({"objective": {"length_weight": 0.1}})
    assert error.reason.endswith("under [objective.short_rl] or [objective.kimi]")
    error = refused({"training": {"step": 1}})
    assert error.field == "training.step" and "there is no setting `step` here; the settings are `steps`," in error.reason
    assert refused({"kind": "trian"}).reason.endswith('it is the text "trian"; it must be one of train, sft, evaluate')
    assert refused({"kind": "unspecified"}).field == "kind"
    assert refused({"kind": "TRAIN"}).field == "kind"
    assert refused({"training": {"steps": -1}}).reason.endswith("it is -1; it must be a whole number, 0 or more")
    assert refused({"training": {"batch": 2**32}}).reason.endswith("whole number from 0 to 4294967295")
    assert refused({"training": {"steps": True}}).reason.endswith("it is true; it must be a whole number, 0 or more")
    assert refused({"training": {"learning_rate": "1e-6"}}).reason.endswith("it must be a number")
    assert refused({"rollout": {"budgets": []}}).reason.endswith("it must hold a budget or more, or be left out for the default")
    assert refused({"data": {"path": []}}).reason.endswith("it is an empty list; it must name a file or more")
    assert refused({"data": {"path": 3}}).reason.endswith("it is 3; it must be a text in quotes or a list of them")
    assert refused({"training": 1}).reason.endswith("it is 1; it must be a table of settings")
    assert refused({"training": [1]}).reason.endswith("it is a list; it must be a table of settings")


def test_values_that_files_have() -> None:
    spec = to_spec({"training": {"learning_rate": 1}, "data": {"path": Path("a/b.jsonl")}, "objective": {"prior_weights": []}})
    assert spec.training.learning_rate == 1.0 and list(spec.data.path) == ["a/b.jsonl"]
    assert to_spec({"training": {"steps": None}}) == to_spec({"training": {}}) != to_spec({})
    assert not to_spec({"training": {}}).training.HasField("steps")
    zero = to_spec({"training": {"weight_decay": 0}}).training
    assert zero.HasField("weight_decay"), "what is written is written, also where it is zero"


def test_values_of_numpy_are_taken() -> None:
    numpy = pytest.importorskip("numpy")
    settings = {
        "training": {"steps": numpy.int64(3), "learning_rate": numpy.float32(0.5)},
        "rollout": {"budgets": numpy.array([1, 2])},
        "evaluation": {"before": numpy.bool_(False)},
        "data": {"template_arguments": {"depth": numpy.int32(4)}},
    }
    spec = to_spec(settings)
    assert (spec.training.steps, spec.training.learning_rate, list(spec.rollout.budgets)) == (3, 0.5, [1, 2])
    assert spec.evaluation.HasField("before") and not spec.evaluation.before
    assert dict(spec.data.template_arguments) == {"depth": "4"}


def test_template_arguments_travel_as_json() -> None:
    text = '[data.template_arguments]\nenable_thinking = false\nnames = ["a", 1, 0.5]\n[data.template_arguments.more]\nb = "ä"\n'
    arguments = dict(job_spec(text).data.template_arguments)
    assert arguments == {"enable_thinking": "false", "names": '["a",1,0.5]', "more": '{"b":"ä"}'}
    assert json.loads(arguments["more"]) == {"b": "ä"}
    assert refused("\n[data.template_arguments]\nuntil = 2025-01-01\n").field == "data.template_arguments.until"
    assert "finite" in refused("\n[data.template_arguments]\nx = inf\n").reason
