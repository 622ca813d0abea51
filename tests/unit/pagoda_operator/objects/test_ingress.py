"""The dialect follows the controller of the class, never its name."""

import pytest

from pagoda_operator.api import ModelDeployment
from pagoda_operator.objects.hpa import as_quantity
from pagoda_operator.objects.ingress import build_ingress


def with_annotations(annotations: dict[str, str]) -> ModelDeployment:
    spec = {"model": {"uri": "hf://a/b"}, "ingress": {"host": "a.example.com", "annotations": annotations}}
    return ModelDeployment.model_validate(
        {"apiVersion": "pagoda.dev/v1alpha1", "kind": "ModelDeployment", "metadata": {"name": "m"}, "spec": spec}
    )


@pytest.mark.parametrize(
    ("controller", "key", "value"),
    [
        ("nginx.org/ingress-controller", "nginx.org/proxy-read-timeout", "3600s"),
        ("k8s.io/ingress-nginx", "nginx.ingress.kubernetes.io/proxy-read-timeout", "3600"),
    ],
)
def test_the_dialect_is_the_controllers_and_the_user_has_the_last_word(controller: str, key: str, value: str) -> None:
    ours = build_ingress(with_annotations({}), class_name="nginx", controller=controller)
    users = build_ingress(with_annotations({key: "9"}), class_name="nginx", controller=controller)
    assert ours is not None and ours["metadata"]["annotations"][key] == value
    assert users is not None and users["metadata"]["annotations"][key] == "9"


def test_quantities_are_written_as_the_api_server_writes_them() -> None:
    assert [as_quantity(v) for v in (1680, 0.5, 100.25)] == ["1680", "500m", "100250m"]


@pytest.mark.parametrize("controller", ["nginx.org/ingress-controller", "k8s.io/ingress-nginx"])
def test_a_request_that_a_leaving_replica_refused_is_tried_at_another(controller: str) -> None:
    ours = build_ingress(with_annotations({}), class_name="nginx", controller=controller)
    assert ours is not None
    said = {key.rpartition("/")[2]: value for key, value in ours["metadata"]["annotations"].items()}
    assert {"http_503", "non_idempotent"} <= set(said["proxy-next-upstream"].split())
    assert said["proxy-next-upstream-timeout"].rstrip("s") == "10", (
        "a refusal after a long wait is not waited for again"
    )
