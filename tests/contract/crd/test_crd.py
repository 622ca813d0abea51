"""The files that users see are those that the models generate and accept."""

import runpy
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from pagoda_cli.crds import check_crds
from pagoda_operator.api import ModelDeployment
from pagoda_operator.api.crd import build_crd

ROOT = Path(__file__).parents[3]


def test_the_crd_in_the_tree_is_the_generated_one() -> None:
    assert check_crds(ROOT / "crds"), "run `pagoda crds`"


def test_the_reference_of_the_resource_is_the_generated_one() -> None:
    folder = ROOT / "docs" / "reference"
    write = runpy.run_path(str(folder / "generate_resource.py"))["write_reference"]
    assert (folder / "modeldeployment.md").read_text() == write(), "run docs/reference/generate_resource.py"


def test_the_crd_is_a_valid_object() -> None:
    kubernetes_validate.validate(build_crd(), "1.37", strict=True)


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda p: p.name)
def test_every_example_is_accepted(path: Path) -> None:
    for document in yaml.safe_load_all(path.read_text()):
        if document["kind"] == "ModelDeployment":
            ModelDeployment.model_validate(document)


def test_the_schema_is_structural_and_every_field_is_described() -> None:
    schema = build_crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    _walk(schema["properties"]["spec"], "spec")


def test_no_field_takes_an_object_without_a_shape() -> None:
    """One that is nested deep enough could be read by no watch, of any model."""
    assert "preserve-unknown-fields" not in (ROOT / "crds" / "pagoda.dev_modeldeployments.yaml").read_text()


def _walk(node: dict[str, Any], path: str) -> None:
    assert "$ref" not in node and "title" not in node, path
    assert "anyOf" not in node or node.get("x-kubernetes-int-or-string"), path
    for name, child in node.get("properties", {}).items():
        assert child.get("description"), f"{path}.{name}"
        _walk(child, f"{path}.{name}")
    if "items" in node:
        _walk(node["items"], f"{path}[]")
