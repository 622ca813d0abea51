"""Certificates: renewed in time, and trusted while they change."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from pagoda_operator.metrics_api.certificates import LIFE_DAYS, build_bundle, needs_renewal

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NAMES = ("pagoda-operator.ns.svc",)


@pytest.mark.parametrize(("share", "due"), [(0.0, False), (0.66, False), (0.67, True), (1.1, True)])
def test_a_certificate_is_renewed_at_two_thirds_of_its_life(share: float, due: bool) -> None:
    bundle = build_bundle(NAMES, NOW)
    assert needs_renewal(bundle, NOW + timedelta(days=LIFE_DAYS * share)) is due


@pytest.mark.parametrize("part", ["ca_pem", "certificate_pem", "key_pem"])
@pytest.mark.parametrize(
    "spoilt", [b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_one_that_cannot_be_read_is_renewed(part: str, spoilt: bytes) -> None:
    assert needs_renewal(replace(build_bundle(NAMES, NOW), **{part: spoilt}), NOW)


def test_one_with_the_key_of_another_is_renewed() -> None:
    assert needs_renewal(replace(build_bundle(NAMES, NOW), key_pem=build_bundle(NAMES, NOW).key_pem), NOW)


def test_a_renewal_survives_a_ca_that_cannot_be_read() -> None:
    assert not needs_renewal(build_bundle(NAMES, NOW, previous_ca_pem=b"nonsense"), NOW)


def test_the_leaf_is_signed_by_the_ca_and_names_the_service() -> None:
    bundle = build_bundle(NAMES, NOW)
    ca, leaf = x509.load_pem_x509_certificate(bundle.ca_pem), x509.load_pem_x509_certificate(bundle.certificate_pem)
    leaf.verify_directly_issued_by(ca)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == list(NAMES)


def test_a_renewed_bundle_trusts_the_ca_before_it_and_no_older_one() -> None:
    first = build_bundle(NAMES, NOW)
    second = build_bundle(NAMES, NOW, previous_ca_pem=first.ca_pem)
    third = build_bundle(NAMES, NOW, previous_ca_pem=second.ca_pem)
    assert second.ca_pem.endswith(first.ca_pem)
    assert len(x509.load_pem_x509_certificates(third.ca_pem)) == 2
    assert first.ca_pem not in third.ca_pem
