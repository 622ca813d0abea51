"""Whom the metrics API trusts: the API server's front proxy, as the cluster says now, and nobody when it says nonsense.

NB: an SSLContext only ever learns to trust more, so each change of trust makes a new one.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from cryptography import x509

from pagoda_guard.parsing import BadInput, parse_json

CONFIG_MAP_NAME = "kube-system/extension-apiserver-authentication"
CA_KEY = "requestheader-client-ca-file"
NAMES_KEY = "requestheader-allowed-names"
CA_LIMIT_BYTES = 256 * 1024
NAMES_LIMIT_BYTES = 64 * 1024

_Names = list[Annotated[str, msgspec.Meta(max_length=256)]]


class TrustError(Exception):
    """The cluster does not say whom to trust; the message names the key and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Trust:
    """Whom the API server's front proxy says it is."""

    client_ca_pem: str
    allowed_names: tuple[str, ...] = ()
    """Common names; empty allows every name that the CA signed."""


def parse_trust(data: Mapping[str, str]) -> Trust:
    """Returns the trust that the ConfigMap's data states. Raises TrustError: whoever cannot be judged is refused."""
    ca_pem = data.get(CA_KEY, "")
    if len(ca_pem) > CA_LIMIT_BYTES:
        raise TrustError(f"{CONFIG_MAP_NAME}: {CA_KEY} has more than {CA_LIMIT_BYTES} bytes")
    try:
        x509.load_pem_x509_certificates(ca_pem.encode())
    except ValueError:
        raise TrustError(f"{CONFIG_MAP_NAME}: {CA_KEY} holds no certificate, or one that cannot be read") from None
    try:
        names = parse_json((data.get(NAMES_KEY) or "[]").encode(), _Names, limit_bytes=NAMES_LIMIT_BYTES)
    except BadInput as error:
        raise TrustError(f"{CONFIG_MAP_NAME}: {NAMES_KEY} is not a JSON list of names: {error}") from None
    return Trust(ca_pem, tuple(names))


def is_trusted(certificate: Mapping[str, Any] | None, trust: Trust | None) -> bool:
    """Returns whether the holder of this certificate, as `getpeercert` gives it, is the front proxy.

    NB: TLS has checked the chain, against the CA at the time of the connection.
    """
    if not certificate or trust is None:
        return False
    names = {value for rdn in certificate["subject"] for key, value in rdn if key == "commonName"}
    return not trust.allowed_names or bool(names & set(trust.allowed_names))


def build_ssl_context(trust: Trust, certificate_path: str, key_path: str) -> ssl.SSLContext:
    """Returns the TLS of a connection to come.

    Raises ssl.SSLError or ValueError where a certificate or key cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.load_cert_chain(certificate_path, key_path)
    context.load_verify_locations(cadata=trust.client_ca_pem)
    context.verify_mode = ssl.CERT_REQUIRED
    return context
