"""What the chart says of itself: its README, and what Artifact Hub and `helm show chart` tell of it."""

import runpy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pagoda_operator.api import ModelDeployment
from pagoda_operator.objects.pod import build_pod_template
from pagoda_operator.objects.settings import BuildSettings

ROOT = Path(__file__).parents[3]
CHART = ROOT / "helm" / "pagoda"
GENERATOR = runpy.run_path(str(ROOT / "docs" / "reference" / "generate_chart.py"))
Object = dict[str, Any]


def read_annotation(name: str) -> list[Object]:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    read: list[Object] = yaml.safe_load(chart["annotations"][f"artifacthub.io/{name}"])
    return read


def find_images(value: object) -> Iterator[str]:
    """Yields what is pulled: images of containers, and those that the operator is told of."""
    if isinstance(value, dict):
        if isinstance(value.get("image"), str):
            yield value["image"]
        if str(value.get("name", "")).endswith("_IMAGE"):
            yield value["value"]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in inner:
        yield from find_images(item)


def test_the_readme_is_as_generated() -> None:
    written = (CHART / "README.md").read_text("utf-8")
    assert written == GENERATOR["write_reference"](), "run: python docs/reference/generate_chart.py"


def test_every_value_has_a_comment() -> None:
    values = list(GENERATOR["read_values"]((CHART / "values.yaml").read_text()))
    assert len(values) > 30
    assert [value.name for value in values if not value.is_group and not value.comment] == []


def test_the_list_of_images_is_complete(render: Callable[..., list[Object]]) -> None:
    listed = {item["image"] for item in read_annotation("images")}
    assert listed == set(find_images(render("replicas=3", "dashboards.enabled=true")))


@pytest.mark.parametrize("gpus", [0, 1])
def test_a_model_pod_has_no_other_images_than_the_two(gpus: int) -> None:
    spec = {"model": {"uri": "hf://a/b"}, "resources": {"gpus": gpus}}
    head = {"apiVersion": "pagoda.dev/v1alpha1", "kind": "ModelDeployment", "metadata": {"name": "a"}}
    mdep = ModelDeployment.model_validate({**head, "spec": spec})
    assert set(find_images(build_pod_template(mdep, BuildSettings("control", "server")))) == {"control", "server"}


def test_the_listed_kinds_are_those_of_the_crds() -> None:
    crds = [yaml.safe_load(path.read_text()) for path in (CHART / "files" / "crds").glob("*.yaml")]
    assert [(crd["kind"], crd["name"]) for crd in read_annotation("crds")] == [
        (crd["spec"]["names"]["kind"], crd["metadata"]["name"]) for crd in crds
    ]


def test_the_example_is_the_quickstart() -> None:
    assert read_annotation("crdsExamples") == [yaml.safe_load((ROOT / "examples" / "quickstart.yaml").read_text())]
