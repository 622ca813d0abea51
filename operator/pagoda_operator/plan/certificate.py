"""Whether the host of an Ingress has its certificate, by what the ingress controller shows whoever asks for that host.

The operator may read no Secret, and nginx keeps to itself that one is missing: it serves a certificate of its own
(ingress-nginx) or ends the handshake (NGINX Inc's). Both are seen from outside, by anybody.
"""

import re

from pagoda_operator.api.reasons import Reason
from pagoda_operator.kube.objects import Object
from pagoda_operator.plan.pods import Finding
from pagoda_operator.plan.world import Handshake, Unasked, World

_NO_NAME = re.compile(r"[^A-Za-z0-9.*:_ -]")
SHOWN_CHARACTERS = 80


def check_certificate(world: World) -> Finding | None:
    ingress = world.mdep.spec.ingress if world.mdep else None
    seen = world.handshake
    if ingress is None or ingress.tls_secret_name is None or seen is None:
        return None
    if isinstance(seen, Unasked):
        return _find_said_before(world)
    if is_good(ingress.host, seen):
        return None
    return Finding(
        Reason.CERTIFICATE_MISSING,
        f"the ingress controller at {seen.address} {_describe(seen.names)} for {ingress.host}: see that the Secret "
        f"{ingress.tls_secret_name} of spec.ingress.tlsSecretName exists in this namespace, is of type "
        f"kubernetes.io/tls and has a certificate for {ingress.host}",
    )


def _find_said_before(world: World) -> Finding | None:
    """Returns what the status says of this spec already, so that another leader does not take it back unseen."""
    for said in world.before.get("conditions", []):
        is_of_now = said.get("observedGeneration") == world.generation
        if said["type"] == "Ingress" and said.get("reason") == Reason.CERTIFICATE_MISSING and is_of_now:
            return Finding(Reason.CERTIFICATE_MISSING, said.get("message", ""))
    return None


def is_good(host: str, seen: Handshake) -> bool:
    return seen.names is not None and any(is_name_of(host, name) for name in seen.names)


def find_expiration(model: Object, seen: Handshake | Unasked | None) -> float | None:
    """Returns when the host's certificate ends, a Unix timestamp in seconds; None where no good one has been seen."""
    ingress = (model.get("spec") or {}).get("ingress") or {}
    host = ingress.get("host") if isinstance(ingress, dict) else None
    if not isinstance(seen, Handshake) or not isinstance(host, str) or not is_good(host, seen):
        return None
    return seen.expires_at


def is_name_of(host: str, name: str) -> bool:
    """Returns whether a certificate for that name is one for the host; a wildcard stands for one label (RFC 6125)."""
    host, name = host.lower(), name.lower()
    return name == host or (name.startswith("*.") and name[1:] == host[host.find(".") :] and "." in host)


def _describe(names: tuple[str, ...] | None) -> str:
    if names is None:
        return "refuses TLS"
    shown = _NO_NAME.sub("?", names[0])[:SHOWN_CHARACTERS] if names else ""
    return f"shows a certificate of other names ({shown or 'it has none'})"
