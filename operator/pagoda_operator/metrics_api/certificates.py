"""The serving certificate of the metrics API and the CA that signs it: made here, renewed at two thirds of its life.

Pure: bytes in, bytes out. The Secret that the replicas share is read and written elsewhere.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFE_DAYS = 90


@dataclass(frozen=True, slots=True)
class Bundle:
    ca_pem: bytes
    certificate_pem: bytes
    key_pem: bytes


def needs_renewal(bundle: Bundle, now: datetime) -> bool:
    """Returns whether the certificate is old, cannot be read, or belongs to another key."""
    try:
        certificate = x509.load_pem_x509_certificate(bundle.certificate_pem)
        key = serialization.load_pem_private_key(bundle.key_pem, password=None)
        x509.load_pem_x509_certificates(bundle.ca_pem)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return True
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return key.public_key() != certificate.public_key() or now >= begin + (end - begin) * 2 / 3


def read_expiration(bundle: Bundle) -> float:
    """Returns when the certificate ends, as a Unix timestamp in seconds.

    Raises ValueError for one that cannot be read.
    """
    return x509.load_pem_x509_certificate(bundle.certificate_pem).not_valid_after_utc.timestamp()


def build_bundle(names: tuple[str, ...], now: datetime, *, previous_ca_pem: bytes = b"") -> Bundle:
    """Returns a new CA and leaf. The CA's key is thrown away: each renewal has a CA of its own.

    The bundle names the previous CA too, so that replicas that still serve the old leaf stay trusted.
    """
    end = now + timedelta(days=LIFE_DAYS)
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"pagoda-metrics-ca-{now:%Y%m%d%H%M%S}")])
    ca = _builder(ca_name, ca_name, ca_key.public_key(), ca_key.public_key(), now, end)
    ca = ca.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    ca = ca.add_extension(_usage(sign_certificates=True), critical=True)
    ca_certificate = ca.sign(ca_key, hashes.SHA256())

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    leaf = _builder(subject, ca_name, key.public_key(), ca_key.public_key(), now, end)
    leaf = leaf.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
    leaf = leaf.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    leaf = leaf.add_extension(_usage(sign_certificates=False), critical=True)
    leaf = leaf.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    certificate = leaf.sign(ca_key, hashes.SHA256())
    return Bundle(
        ca_pem=_pem(ca_certificate) + _newest(previous_ca_pem),
        certificate_pem=_pem(certificate),
        key_pem=key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    issuer_key: ec.EllipticCurvePublicKey,
    now: datetime,
    end: datetime,
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    issued_by = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key)
    builder = builder.add_extension(
        issued_by, critical=False
    )  # without it a strict client refuses the chain (RFC 5280)
    return builder.not_valid_before(now - timedelta(minutes=5)).not_valid_after(end)


def _usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _newest(pem: bytes) -> bytes:
    """Returns the first certificate of a bundle; nothing for one that cannot be read."""
    try:
        return _pem(x509.load_pem_x509_certificates(pem)[0])
    except ValueError:
        return b""
