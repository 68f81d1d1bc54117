"""Checks dashboards; deploy/grafana/check.sh runs it.

Each file goes through the classes of grafana-foundation-sdk, which are generated from Grafana's schema: a field that they do
not know, or a value of another type, is an error. Then come the rules that all dashboards here keep."""

import enum
import json
import pathlib
import re
import sys
import types
import typing

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

VARIABLES_OF_GRAFANA = {"__rate_interval", "__interval", "__range", "__all"}
VARIABLES_OF_ALL = ["datasource", "job", "instance"]


def as_json(model):
    return json.loads(json.dumps(model, cls=JSONEncoder))


def lost(original, encoded, place):
    """What stands in a file and does not come back out of the classes."""
    if isinstance(original, dict) and isinstance(encoded, dict):
        for key, value in original.items():
            if key in encoded:
                yield from lost(value, encoded[key], f"{place}.{key}")
            elif value is not None:
                yield f"{place}.{key}: the schema does not know it"
    elif isinstance(original, list) and isinstance(encoded, list) and len(original) == len(encoded):
        for index, (one, other) in enumerate(zip(original, encoded)):
            yield from lost(one, other, f"{place}[{index}]")
    elif original != encoded:
        yield f"{place}: {original!r} became {encoded!r}"


def fits(value, hint):
    """Whether a value is of a type of the schema; what lies inside of objects is looked at by `wrong_types`."""
    origin = typing.get_origin(hint)
    if hint in (typing.Any, object) or isinstance(hint, typing.TypeVar):
        return True
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, one) for one in typing.get_args(hint))
    if origin is typing.Literal:
        return value in typing.get_args(hint)
    if origin is list:
        return isinstance(value, list) and all(fits(one, *typing.get_args(hint)) for one in value)
    if origin is dict:
        return isinstance(value, dict)
    if hint in (type(None), None):
        return value is None
    if not isinstance(hint, type):
        return True
    if issubclass(hint, enum.Enum):
        return value in [one.value for one in hint]
    if isinstance(value, dict) and hasattr(hint, "from_json"):
        # The SDK leaves transformations as they were.
        model = hint.from_json(value)
        return not [*lost(value, as_json(model), ""), *wrong_types(model, "")]
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)


def wrong_types(value, place):
    """Every field of the classes whose value is of another type than the schema says."""
    if isinstance(value, list):
        for index, one in enumerate(value):
            yield from wrong_types(one, f"{place}[{index}]")
    elif isinstance(value, dict):
        for key, one in value.items():
            yield from wrong_types(one, f"{place}.{key}")
    elif hasattr(value, "to_json"):
        for name, hint in typing.get_type_hints(type(value)).items():
            field = getattr(value, name, None)
            if field is not None and not fits(field, hint):
                yield f"{place}.{name}: {field!r} is no {hint}"
            yield from wrong_types(field, f"{place}.{name}")


def broken_rules(dashboard, uids):
    """The rules of this project."""
    panels = dashboard["panels"]
    for what in ("id", "title"):
        values = [panel[what] for panel in panels]
        for value in sorted({value for value in values if values.count(value) > 1}):
            yield f"{what} {value!r} is there twice"
    names = [variable["name"] for variable in dashboard["templating"]["list"]]
    if names != VARIABLES_OF_ALL:
        yield f"variables {names}, not {VARIABLES_OF_ALL}"
    linked = {link["url"].removeprefix("/d/") for link in dashboard["links"] if link["url"].startswith("/d/")}
    if linked != uids - {dashboard["uid"]}:
        yield f"links to {sorted(linked)}, not to every other dashboard"
    taken = {}
    for panel in panels:
        title, grid = panel["title"], panel["gridPos"]
        if grid["x"] + grid["w"] > 24:
            yield f"{title}: wider than the page"
        for x in range(grid["x"], grid["x"] + grid["w"]):
            for y in range(grid["y"], grid["y"] + grid["h"]):
                if taken.setdefault((x, y), title) != title:
                    yield f"{title}: lies over {taken[x, y]}"
                    break
        if panel["type"] == "row":
            continue
        if not re.fullmatch(r"[^a-z].{30,}\.", panel.get("description", "")):
            yield f"{title}: no sentence says what a bad value means"
        if "unit" not in panel["fieldConfig"]["defaults"]:
            yield f"{title}: no unit"
        for target in panel["targets"]:
            if target["datasource"]["uid"] != "${datasource}":
                yield f"{title}: another data source than the variable"
            used = set(re.findall(r"\$\{?(\w+)", target["expr"]))
            for name in sorted(used - VARIABLES_OF_GRAFANA - set(names)):
                yield f"{title}: no variable {name}"
            if panel["type"] == "timeseries" and not target.get("legendFormat"):
                yield f"{title}: a line without a name"


def main(paths):
    register_default_plugins()
    dashboards = {path: json.loads(pathlib.Path(path).read_text(encoding="utf-8")) for path in paths}
    uids = {dashboard["uid"] for dashboard in dashboards.values()}
    errors = []
    for path, dashboard in dashboards.items():
        model = Dashboard.from_json(dashboard)
        found = [*lost(dashboard, as_json(model), "dashboard"), *wrong_types(model, "dashboard"), *broken_rules(dashboard, uids)]
        errors += [f"{path}: {error}" for error in found]
        queries = sum(len(panel.get("targets", [])) for panel in dashboard["panels"])
        print(f"{path}: {len(dashboard['panels'])} panels, {queries} queries, {len(found)} errors")
    if len(uids) != len(paths) or not paths:
        errors.append("every dashboard needs a uid of its own")
    for error in errors:
        print(error, file=sys.stderr)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
