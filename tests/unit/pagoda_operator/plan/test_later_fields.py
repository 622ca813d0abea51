"""What is hashed of a spec is what release 0.1.0 hashed, or its pods would restart at the upgrade."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from pagoda_operator.api.shapes import Affinity, TopologySpread
from pagoda_operator.api.spec import Engine, Resources, Spec
from pagoda_operator.plan.revision import _GONE_WRITTEN, _LATER_FIELDS, _POD_FIELDS

FIELDS_0_1_0 = (Path(__file__).parent / "fields_0_1_0.txt").read_text().split("\n")
"""The fields of release 0.1.0 that its hash of the pods read; those with a default end with =."""


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models in an annotation such as `Annotated[list[Toleration], ...] | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from models_in(argument)


def fields_of(model: type[BaseModel], path: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        has_default = not field.is_required() and field.default is not None
        yield f"{path}{name}{'=' if has_default else ''}"
        for inner in models_in(field.annotation):
            yield from fields_of(inner, f"{path}{name}.")


def paths_of(selection: Any, path: str = "") -> Iterator[str]:
    """The paths of pydantic's `include` or `exclude`; lists have no segment of their own."""
    for name in selection:
        inner = selection[name] if isinstance(selection, dict) else True
        if inner is True:
            yield f"{path}{name}"
        else:
            yield from paths_of(inner, path if name == "__all__" else f"{path}{name}.")


def is_under(field: str, paths: list[str]) -> bool:
    return any(f"{field.rstrip('=')}.".startswith(f"{path}.") for path in paths)


def find_unnamed(model: type[BaseModel], later: Any, pod_fields: Any) -> set[str]:
    """Fields that 0.1.0 did not know, or not with a default, and that `later` does not name."""
    hashed = {field for field in fields_of(model) if is_under(field, list(paths_of(pod_fields)))}
    known = {*FIELDS_0_1_0, *(field.rstrip("=") for field in FIELDS_0_1_0)}
    return {field for field in hashed if field not in known and not is_under(field, list(paths_of(later)))}


def test_a_field_that_the_last_release_lacks_is_named_as_a_later_one() -> None:
    unnamed = sorted(find_unnamed(Spec, _LATER_FIELDS, _POD_FIELDS))
    assert not unnamed, (
        f"{', '.join(field.rstrip('=') for field in unnamed)}: new in the hash of the pods, so pods of release 0.1.0 "
        "would restart at the upgrade. Add each to _LATER_FIELDS in plan/revision.py. (A field of 0.1.0 that now has a "
        "default cannot be mended so: leave its default None, and choose the value where the pod is built.)"
    )


def test_a_field_that_has_left_is_named_where_the_last_release_hashed_its_default() -> None:
    now = set(fields_of(Spec))
    blocks = {field.rstrip("=") for field in now} | {""}
    gone = {field.rstrip("=") for field in FIELDS_0_1_0 if field.endswith("=") and field not in now}
    named = {f"{block}.{field}" for block, fields in _GONE_WRITTEN.items() for field in fields}
    assert {field for field in gone if field.rpartition(".")[0] in blocks} == named


@pytest.mark.parametrize("shape", [Affinity, TopologySpread])
def test_an_object_that_goes_through_has_no_defaults(shape: type[BaseModel]) -> None:
    assert not [field for field in fields_of(shape) if field.endswith("=")], "the API server would write it into specs"


class NewerEngine(Engine):
    new_field: int = 8
    max_num_seqs: int | None = 256


class NewerResources(Resources):
    note: str | None = None


class NewerSpec(Spec):
    engine: NewerEngine = NewerEngine()
    resources: NewerResources = NewerResources()


@pytest.mark.parametrize(
    ("later", "unnamed"),
    [
        ({}, {"engine.new_field=", "engine.max_num_seqs=", "resources.note"}),
        ({"engine": {"new_field"}, "resources": {"note": True}}, {"engine.max_num_seqs="}),
    ],
)
def test_a_new_field_and_a_new_default_are_found(later: Any, unnamed: set[str]) -> None:
    assert find_unnamed(NewerSpec, {**_LATER_FIELDS, **later}, _POD_FIELDS) == unnamed
