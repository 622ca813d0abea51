"""The kinds the operator reads or writes, and where the API server serves them."""

from dataclasses import dataclass

from pagoda_operator.kube.objects import API_VERSION, KIND, MANAGED_BY, MANAGED_BY_LABEL, PLURAL

OURS = f"{MANAGED_BY_LABEL}={MANAGED_BY}"
"""The selector of objects that the operator makes."""
FIELD_MANAGER = "pagoda-operator"


@dataclass(frozen=True, slots=True)
class Kind:
    api_version: str
    kind: str
    plural: str
    namespaced: bool = True
    watched: bool = False
    selector: str = ""
    """Label selector of the watch and of the lists."""

    @property
    def group(self) -> str:
        return self.api_version.rpartition("/")[0]

    @property
    def full_name(self) -> str:
        return f"{self.group}/{self.kind}"

    @property
    def version(self) -> str:
        return self.api_version.rpartition("/")[2]

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        root = f"/apis/{self.api_version}" if self.group else f"/api/{self.api_version}"
        scope = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return "/".join(part for part in (f"{root}{scope}/{self.plural}", name, subresource) if part)


MODEL_DEPLOYMENT = Kind(API_VERSION, KIND, PLURAL, watched=True)
INGRESS_CLASS = Kind("networking.k8s.io/v1", "IngressClass", "ingressclasses", namespaced=False, watched=True)
STORAGE_CLASS = Kind("storage.k8s.io/v1", "StorageClass", "storageclasses", namespaced=False, watched=True)
LEASE = Kind("coordination.k8s.io/v1", "Lease", "leases")
SECRET = Kind("v1", "Secret", "secrets")
CONFIG_MAP = Kind("v1", "ConfigMap", "configmaps")
EVENT = Kind("v1", "Event", "events")
ENDPOINT_SLICE = Kind("discovery.k8s.io/v1", "EndpointSlice", "endpointslices")
CLUSTER_ROLE = Kind("rbac.authorization.k8s.io/v1", "ClusterRole", "clusterroles", namespaced=False)
API_SERVICE = Kind("apiregistration.k8s.io/v1", "APIService", "apiservices", namespaced=False)


def _child(api_version: str, kind: str, plural: str) -> Kind:
    return Kind(api_version, kind, plural, watched=True, selector=OURS)


CHILDREN = (
    _child("apps/v1", "Deployment", "deployments"),
    _child("v1", "Pod", "pods"),
    _child("v1", "Service", "services"),
    _child("v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
    _child("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers"),
    _child("networking.k8s.io/v1", "Ingress", "ingresses"),
    _child("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies"),
    _child("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets"),
)
OPTIONAL = (
    Kind("monitoring.coreos.com/v1", "PodMonitor", "podmonitors", selector=OURS),
    Kind("monitoring.coreos.com/v1", "PrometheusRule", "prometheusrules", selector=OURS),
)
WATCHED = (MODEL_DEPLOYMENT, *CHILDREN, INGRESS_CLASS, STORAGE_CLASS)
ALL = (*WATCHED, LEASE, SECRET, CONFIG_MAP, EVENT, API_SERVICE, *OPTIONAL)
_BY_NAME = {(kind.api_version, kind.kind): kind for kind in ALL}


def kind_named(api_version: str, kind: str) -> Kind:
    """Returns the kind. Raises KeyError for one that the operator does not know."""
    return _BY_NAME[(api_version, kind)]
