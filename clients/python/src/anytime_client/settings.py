"""Jobs as people write them, and as they travel: the TOML form of `JobSpec`.

What a job file can hold is what the descriptors of `JobSpec` say. Nothing here names a setting; a new one needs no
change. The rules are those of the Rust client: enumerations by their short name (`kind = "train"`), the settings of an
objective in the table of its name (`[objective.kimi]`), files as a text or a list of texts, template arguments as any
values, and no setting that does not exist.

Only the form is checked here. What a value may be, and what is left out, the learner decides.
"""

from __future__ import annotations

import json
import math
import numbers
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import date, time
from pathlib import Path
from typing import Any, TypeAlias

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.descriptor_pb2 import DescriptorProto
from google.protobuf.message import Message

from .errors import AnytimeError, invalid
from .v1 import JobSpec

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

#: A job: nested tables, a path (`os.PathLike`, or a text of one line), the text of a job file (several lines), or the
#: message itself.
JobLike: TypeAlias = "Mapping[str, Any] | str | os.PathLike[str] | JobSpec"

#: Descriptors of fields and enumerations, whose classes differ between the implementations of protobuf.
Field: TypeAlias = Any
Enumeration: TypeAlias = Any

_MAX_U32 = 2**32 - 1
_MAX_I32 = 2**31 - 1
#: TOML has no larger numbers.
_MAX_WHOLE = 2**63 - 1


def job_spec(job: JobLike, changes: Mapping[str, Any] | None = None) -> JobSpec:
    """The specification of a job. `changes` are laid over it, as `--set` of the command line: dotted names with values
    (`{"training.steps": 10}`) or nested tables.

    Raises:
        AnytimeError: INVALID_ARGUMENT with the name of the setting.
    """
    if isinstance(job, JobSpec) and not changes:
        spec = JobSpec()
        spec.CopyFrom(job)
        return spec
    table = settings_of(job) if isinstance(job, JobSpec) else _table_of(job)
    for name, value in (changes or {}).items():
        table = _merged(table, _nested(name, value))
    return to_spec(table)


def to_spec(settings: Mapping[str, Any]) -> JobSpec:
    """The specification that nested tables describe.

    Raises:
        AnytimeError: INVALID_ARGUMENT with the name of the setting.
    """
    spec = JobSpec()
    _fill(spec, _table(settings, "a job"), "")
    return spec


def settings_of(spec: JobSpec) -> dict[str, Any]:
    """The nested tables of a specification: what is written in it and nothing else. [`to_spec`] reads them again."""
    return _settings_of(spec)


def short_name(enumeration: Enumeration, number: int) -> str | None:
    """`train` for JOB_KIND_TRAIN; None for what is not specified or not known."""
    value = enumeration.values_by_number.get(number)
    if value is None or number == 0:
        return None
    return str(value.name).removeprefix(_prefix(enumeration)).lower()


def is_choice(field: Field) -> bool:
    """Whether a field is one possibility of a oneof, and not just optional."""
    choice = field.containing_oneof
    return choice is not None and not choice.name.startswith("_")


def is_map(field: Field) -> bool:
    """Whether a field is a map."""
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def _table_of(job: Mapping[str, Any] | str | os.PathLike[str]) -> Mapping[str, Any]:
    if isinstance(job, Mapping):
        return job
    if isinstance(job, str) and "\n" in job:
        return _parse("job file", job)
    if not isinstance(job, (str, os.PathLike)):
        raise invalid(f"a job is a table, a path or the text of a job file, and not {type(job).__name__}", "job")
    path = Path(job)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise invalid(f"job file {path}: it is no text in UTF-8", "job") from None
    except OSError as error:
        raise invalid(f"job file {path}: {error.strerror or error}", "job") from None
    return _parse(str(path), text)


def _parse(name: str, text: str) -> dict[str, Any]:
    try:
        return dict(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise invalid(f"{name}: {error}", "job") from None


def _nested(name: str, value: Any) -> dict[str, Any]:
    parts = name.split(".")
    if not all(parts):
        raise invalid(f"`{name}` is no name of a setting such as training.steps", name)
    table: Any = value
    for part in reversed(parts):
        table = {part: table}
    return dict(table)


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Sections are merged, everything else is replaced."""
    merged = dict(under)
    for name, value in over.items():
        below = merged.get(name)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            value = _merged(below, value)
        merged[name] = value
    return merged


def _fill(message: Message, table: Mapping[str, Any], path: str) -> None:
    fields: Mapping[str, Field] = message.DESCRIPTOR.fields_by_name
    for name, value in table.items():
        place = f"{path}.{name}" if path else str(name)
        field = fields.get(name)
        if field is None:
            raise _unknown(message, str(name), place)
        # As where it is not written; TOML has no such value.
        if value is None:
            continue
        if is_choice(field):
            written = message.WhichOneof(field.containing_oneof.name)
            if written not in (None, field.name):
                section = path.split(".")[-1]
                raise invalid(f"[{path}.{written}] and [{place}] are both written; a job has one {section}", place)
        _write(message, field, _plain(value), place)


def _unknown(message: Message, name: str, place: str) -> AnytimeError:
    moved = DescriptorProto()
    message.DESCRIPTOR.CopyToProto(moved)
    if name in moved.reserved_name:
        path = place.rpartition(".")[0]
        fields: Sequence[Field] = message.DESCRIPTOR.fields
        tables = [field for field in fields if is_choice(field)]
        owners = [f"[{path}.{table.name}]" for table in tables if name in table.message_type.fields_by_name]
        return invalid(f"{place} is now written as {name} under {' or '.join(owners)}", place)
    known = ", ".join(f"`{field.name}`" for field in message.DESCRIPTOR.fields)
    return invalid(f"{place}: there is no setting `{name}` here; the settings are {known}", place)


def _write(message: Message, field: Field, value: Any, place: str) -> None:
    if is_map(field):
        entries = getattr(message, field.name)
        for name, item in _table(value, place).items():
            entries[str(name)] = _entry(field, _plain(item), f"{place}.{name}")
    elif field.message_type is not None:
        section = getattr(message, field.name)
        # A table without settings is written, too: [objective.kimi] says which objective is meant.
        section.SetInParent()
        _fill(section, _table(value, place), place)
    elif field.is_repeated:
        getattr(message, field.name).extend(_items(field, value, place))
    else:
        setattr(message, field.name, _scalar(field, value, place))


def _holds_texts(field: Field) -> bool:
    """Whether a map has texts. A map of a section has values of any kind, each of which travels as JSON."""
    return bool(field.containing_type == JobSpec.DESCRIPTOR)


def _entry(field: Field, value: Any, place: str) -> str:
    if not _holds_texts(field):
        return _json(value, place)
    if not isinstance(value, str):
        raise invalid(f"{place}: it is {_found(value)}; it must be a text in quotes", place)
    return value


def _table(value: Any, place: str) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return value
    raise invalid(f"{place}: it is {_found(value)}; it must be a table of settings", place)


def _items(field: Field, value: Any, place: str) -> list[Any]:
    is_text = field.type == FieldDescriptor.TYPE_STRING
    if is_text and isinstance(value, (str, os.PathLike)):
        return [os.fspath(value)]
    if not isinstance(value, (list, tuple)):
        must = "a text in quotes or a list of them" if is_text else "a list"
        raise invalid(f"{place}: it is {_found(value)}; it must be {must}", place)
    if not value and field.type != FieldDescriptor.TYPE_DOUBLE:
        # A specification cannot tell an empty list from one that is left out.
        must = "name a file or more" if is_text else "hold a budget or more, or be left out for the default"
        raise invalid(f"{place}: it is an empty list; it must {must}", place)
    return [_scalar(field, _plain(item), place) for item in value]


def _scalar(field: Field, value: Any, place: str) -> Any:
    if field.enum_type is not None:
        return _enumeration(field.enum_type, value, place)
    is_valid, must, convert = _SCALARS[field.type]
    if not is_valid(value):
        raise invalid(f"{place}: it is {_found(value)}; it must be {must}", place)
    return convert(value)


def _is_whole(most: int, least: int = 0) -> Callable[[Any], bool]:
    return lambda value: (
        isinstance(value, numbers.Integral) and not isinstance(value, bool) and least <= int(value) <= most
    )


_SCALARS: dict[int, tuple[Callable[[Any], bool], str, Callable[[Any], Any]]] = {
    FieldDescriptor.TYPE_BOOL: (lambda value: isinstance(value, bool), "true or false", bool),
    FieldDescriptor.TYPE_STRING: (lambda value: isinstance(value, (str, os.PathLike)), "a text in quotes", os.fspath),
    FieldDescriptor.TYPE_INT32: (
        _is_whole(_MAX_I32, -_MAX_I32 - 1),
        f"a whole number from {-_MAX_I32 - 1} to {_MAX_I32}",
        int,
    ),
    FieldDescriptor.TYPE_UINT32: (_is_whole(_MAX_U32), f"a whole number from 0 to {_MAX_U32}", int),
    FieldDescriptor.TYPE_UINT64: (_is_whole(_MAX_WHOLE), "a whole number, 0 or more", int),
    FieldDescriptor.TYPE_DOUBLE: (
        lambda value: isinstance(value, numbers.Real) and not isinstance(value, bool),
        "a number",
        float,
    ),
}


def _enumeration(enumeration: Enumeration, value: Any, place: str) -> int:
    names = {short_name(enumeration, entry.number): entry.number for entry in enumeration.values if entry.number != 0}
    if isinstance(value, str) and value in names:
        return int(names[value])
    allowed = ", ".join(str(name) for name in names)
    raise invalid(f"{place}: it is {_found(value)}; it must be one of {allowed}", place)


def _prefix(enumeration: Enumeration) -> str:
    return str(enumeration.values_by_number[0].name).removesuffix("UNSPECIFIED")


def _json(value: Any, place: str) -> str:
    return json.dumps(_jsonable(_plain(value), place), separators=(",", ":"), ensure_ascii=False, sort_keys=True)


def _jsonable(value: Any, place: str) -> Any:
    """JSON has no dates and no infinite numbers."""
    if isinstance(value, Mapping):
        return {str(name): _jsonable(_plain(item), f"{place}.{name}") for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(_plain(item), place) for item in value]
    if isinstance(value, (date, time)):
        raise invalid(f"{place} is a date, {value}; it must be a text in quotes", place)
    if isinstance(value, float) and not math.isfinite(value):
        raise invalid(f"{place} is {value}; it must be a finite number", place)
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    raise invalid(f"{place} is {_found(value)}; it must be a text, a number, a flag, a list or a table", place)


def _plain(value: Any) -> Any:
    """Numbers and lists of NumPy and its like as Python's own."""
    return value.tolist() if hasattr(value, "tolist") else value


def _found(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"the text {json.dumps(value, ensure_ascii=False)}"
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, (list, tuple)):
        return "a list"
    return f"of the type {type(value).__name__}"


def _settings_of(message: Message) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for field, value in message.ListFields():
        if is_map(field) and _holds_texts(field):
            table[field.name] = dict(sorted(value.items()))
        elif is_map(field):
            values = {name: json.loads(text) for name, text in sorted(value.items())}
            table[field.name] = {name: item for name, item in values.items() if item is not None}
        elif field.message_type is not None:
            table[field.name] = _settings_of(value)
        elif field.enum_type is not None:
            table[field.name] = short_name(field.enum_type, value)
        elif field.is_repeated:
            is_one_file = field.type == FieldDescriptor.TYPE_STRING and len(value) == 1
            table[field.name] = value[0] if is_one_file else list(value)
        else:
            table[field.name] = value
    return table
