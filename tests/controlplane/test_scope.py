"""With the chart's own roles: the operator serves the namespaces that it is given, and needs no right beyond them."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from .plane import HOME, ROOT, ControlPlane, eventually
from .test_api_parity import EVERYTHING
from .test_operator import model

pytestmark = pytest.mark.controlplane
WIDE = ("watchNamespaces={default}", "models.allowed.serviceTypes={LoadBalancer}")
NARROW = (*WIDE, "rbac.clusterRoles=false", "metricsApi.enabled=false")
ROLES = ("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding", "ServiceAccount")


def install_roles(plane: ControlPlane, *settings: str) -> tuple[str, list[str]]:
    """The kubeconfig of the chart's ServiceAccount, and the flags that say what the chart's variables say."""
    flags = [flag for setting in settings for flag in ("--set", setting)]
    command = [str(Path(HOME) / "bin" / "helm"), "template", "pagoda", str(ROOT / "helm" / "pagoda"), *flags]
    done = subprocess.run([*command, "--namespace", "pagoda-system"], capture_output=True, text=True, check=True)
    objects = [found for found in yaml.safe_load_all(done.stdout) if found]
    plane.apply(*(found for found in objects if found["kind"] in ROLES))
    (deployment,) = [found for found in objects if found["kind"] == "Deployment"]
    env = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    given = {item["name"]: item["value"] for item in env if "value" in item}
    names = ("WATCH_NAMESPACES", "LEASE_NAME", "ALLOWED", "PROFILES", "MODEL_DEFAULTS")
    words = [f"--{name.lower().replace('_', '-')}={given[f'PAGODA_{name}']}" for name in names]
    return kubeconfig_of(plane, "pagoda"), words


def kubeconfig_of(plane: ControlPlane, account: str) -> str:
    config: dict[str, Any] = yaml.safe_load((plane.folder / "pki" / "admin.kubeconfig").read_text())
    token = plane.kubectl("-n", "pagoda-system", "create", "token", account).strip()
    config["users"] = [{"name": user["name"], "user": {"token": token}} for user in config["users"]]
    path = plane.folder / "pki" / f"{account}.kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return str(path)


@pytest.mark.parametrize("settings", [WIDE, NARROW], ids=["cluster-role", "roles-only"])
def test_it_serves_its_namespaces_and_no_other_with_the_rights_of_the_chart(
    control_plane: ControlPlane, settings: tuple[str, ...]
) -> None:
    plane, narrow = control_plane, settings is NARROW
    kubeconfig, words = install_roles(plane, *settings)
    plane.kubectl("create", "namespace", "elsewhere")
    asked = {**model("tiny"), "spec": {**model("tiny")["spec"], "ingress": {"host": "a.example", "className": "x"}}}
    plane.apply(
        *({**model("tiny"), "metadata": {"name": "tiny", "namespace": n}} for n in ("elsewhere", "pagoda-system"))
    )
    plane.apply(asked)
    with plane.operator("scoped", "--metrics-api-port=0", *words, kubeconfig=kubeconfig) as process:
        eventually(lambda: plane.get("deployment", "tiny"), seconds=60)
        eventually(lambda: conditions(plane, "tiny")["Ingress"]["reason"] == "NoIngressClass", seconds=60)
        said = conditions(plane, "tiny")["Ingress"]["message"]
        assert ("rbac.clusterRoles" in said) is narrow
    assert process.returncode == 0
    log = plane.log_of("scoped")
    unread = {
        line.rpartition("cannot list ")[2].partition(":")[0] for line in log.splitlines() if "cannot list" in line
    }
    assert unread == ({"ingressclasses", "storageclasses"} if narrow else set())
    assert narrow or "orbidden" not in log
    for namespace in ("elsewhere", "pagoda-system"):
        assert not plane.get("-n", namespace, "deployments")["items"]
        assert "status" not in plane.get("-n", namespace, "mdep", "tiny")
    plane.kubectl("delete", "mdep", "--all", "-A")
    plane.kubectl("delete", "namespace", "elsewhere")
    plane.kubectl("delete", "clusterrole,clusterrolebinding", "-l", "app.kubernetes.io/instance=pagoda")
    eventually(lambda: not json.loads(plane.kubectl("get", "deployments", "-o", "json"))["items"])


def conditions(plane: ControlPlane, name: str) -> dict[str, Any]:
    return {found["type"]: found for found in plane.get("mdep", name).get("status", {}).get("conditions", [])}


ALLOW_ALL = {
    **dict.fromkeys(
        ("images", "serviceAccounts", "env", "sources", "podLabels", "podAnnotations", "serviceAnnotations"), ["*"]
    ),
    "serviceTypes": ["LoadBalancer"],
}


def test_a_model_with_every_field_at_once_is_applied_and_then_nothing_is_written(control_plane: ControlPlane) -> None:
    plane = control_plane
    given = {"allowed": ALLOW_ALL, "profiles": {"h100": {"resources": {"memory": "4Gi"}}}}
    words = [f"--{name}={json.dumps(value)}" for name, value in given.items()]
    with plane.operator("everything", *words) as process:
        plane.apply(model("all", **EVERYTHING))
        pod = eventually(lambda: plane.get("deployment", "all"), seconds=60)["spec"]["template"]["spec"]
        assert pod["serviceAccountName"] == "reader" and pod["schedulerName"] == "volcano"
        server = pod["containers"][0]
        assert server["resources"]["limits"]["memory"] == "4Gi" and server["envFrom"]
        assert eventually(lambda: plane.get("service", "all"))["spec"]["type"] == "LoadBalancer"
        eventually(lambda: conditions(plane, "all")["Ready"]["reason"] not in ("ApplyFailed", "NotAllowed"))
        version = plane.get("deployment", "all")["metadata"]["generation"]
        plane.kubectl("annotate", "mdep", "all", "again=yes")
        plane.apply(model("later"))
        eventually(lambda: plane.get("deployment", "later"), seconds=60)
        assert plane.get("deployment", "all")["metadata"]["generation"] == version
    assert process.returncode == 0
    plane.kubectl("delete", "mdep", "--all")
