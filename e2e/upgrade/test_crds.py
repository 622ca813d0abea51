"""`helm upgrade` changes the CRD with the chart, `helm rollback` changes it back, and neither loses an object."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

CHART = Path(__file__).parents[2] / "helm/pagoda"
SYSTEM = "pagoda-system"
CRD = "modeldeployments.pagoda.dev"
COLUMN = {"name": "Later", "type": "string", "jsonPath": ".metadata.name"}


@pytest.fixture
def later_chart(tmp_path: Path, namespace: Any) -> Iterator[str]:
    """The chart of a later version, whose CRD has one column more."""
    chart = tmp_path / "pagoda"
    shutil.copytree(CHART, chart)
    (path,) = (chart / "files/crds").glob("*.yaml")
    crd = yaml.safe_load(path.read_text())
    crd["spec"]["versions"][0]["additionalPrinterColumns"].append(COLUMN)
    path.write_text(yaml.safe_dump(crd))
    yield str(chart)
    namespace.cluster.install_this()


def read_columns(namespace: Any) -> list[str]:
    crd = json.loads(namespace.kubectl("get", "crd", CRD, "-o", "json"))
    return [column["name"] for column in crd["spec"]["versions"][0]["additionalPrinterColumns"]]


def test_helm_upgrade_and_rollback_change_the_crd_and_keep_the_objects(namespace: Any, later_chart: str) -> None:
    cluster = namespace.cluster
    namespace.apply("kept")
    uid = namespace.model("kept")["metadata"]["uid"]
    assert COLUMN["name"] not in read_columns(namespace)

    cluster.helm("upgrade", "pagoda", later_chart, "-n", SYSTEM, "--reset-then-reuse-values")
    assert read_columns(namespace)[-1] == COLUMN["name"]
    cluster.helm("rollback", "pagoda", "-n", SYSTEM)
    assert COLUMN["name"] not in read_columns(namespace)
    assert namespace.model("kept")["metadata"]["uid"] == uid
