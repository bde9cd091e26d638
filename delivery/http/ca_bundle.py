"""The trusted certificates: the same as boto3's."""

from __future__ import annotations

import os
import ssl

from botocore.httpsession import get_cert_path
from botocore.session import Session


def find_ca_bundle(session: Session) -> str:
    """Find the file of trusted certificates: AWS_CA_BUNDLE, `ca_bundle`, REQUESTS_CA_BUNDLE, or botocore's own."""
    told = session.get_config_variable("ca_bundle")
    if told is None:
        told = os.environ.get("REQUESTS_CA_BUNDLE")
    return str(get_cert_path(verify=True) if told is None else told)


def open_trust(ca_bundle: str) -> ssl.SSLContext:
    """Read a file of trusted certificates, for TLS 1.2 and later, with a check of the other side's name.

    Raises:
        ValueError: it cannot be read, or has no certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_verify_locations(cafile=ca_bundle)
    except OSError as error:  # ssl.SSLError is an OSError
        raise ValueError(f"the CA bundle {ca_bundle!r} cannot be read: {error.strerror or error}") from None
    return context
