"""Asks an ingress controller for a host over TLS, and hangs up: nothing is sent or believed, its certificate is read.

Who answers may be anybody: what comes is a Handshake, or one of three exceptions, within a fixed time.
"""

import asyncio
import ssl

from cryptography import x509

from pagoda_guard.parsing import BadInput
from pagoda_operator.plan import Handshake

TIMEOUT_SECONDS = 5.0
MAXIMUM_NAMES = 100
_REFUSED = {"TLSV1_UNRECOGNIZED_NAME"}
"""What OpenSSL calls the alert of a server that does not serve that host."""


async def read_handshake(address: str, port: int, host: str) -> Handshake:
    """Returns what is shown for the host at that address.

    Raises BadInput, OSError or TimeoutError where that cannot be known.
    """
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            certificate = await _shake_hands(address, port, host)
    except ssl.SSLError as error:
        if error.reason in _REFUSED:
            return Handshake(address, None)
        raise
    return Handshake(address, read_names(certificate), read_expiration(certificate))


async def _shake_hands(address: str, port: int, host: str) -> bytes:
    _, writer = await asyncio.open_connection(address, port, ssl=_build_context(), server_hostname=host)
    try:
        return writer.get_extra_info("ssl_object").getpeercert(binary_form=True) or b""
    finally:
        writer.transport.abort()


def _build_context() -> ssl.SSLContext:
    """Returns a context that takes any certificate: whom it is for is asked here, not whether to trust it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def read_expiration(certificate: bytes) -> float:
    """Returns when a certificate ends, as a Unix timestamp. Raises BadInput for bytes that are no certificate."""
    try:
        return x509.load_der_x509_certificate(certificate).not_valid_after_utc.timestamp()
    except (ValueError, OverflowError) as error:
        raise BadInput(f"not a certificate: {error}") from error


def read_names(certificate: bytes) -> tuple[str, ...]:
    """Returns the DNS names of a certificate, which may be none. Raises BadInput for bytes that are no certificate."""
    try:
        extensions = x509.load_der_x509_certificate(certificate).extensions
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return tuple(names.get_values_for_type(x509.DNSName)[:MAXIMUM_NAMES])
    except x509.ExtensionNotFound:
        return ()
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise BadInput(f"not a certificate: {error}") from error
