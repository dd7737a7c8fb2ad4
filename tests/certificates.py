"""Certificates for receivers on loopback, and who trusts them."""

import socket
import ssl
from typing import Any

from trustme import CA, LeafCert


def showing(certificate: LeafCert) -> ssl.SSLContext:
    """For a receiver that has this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def showing_its_own() -> ssl.SSLContext:
    """For a receiver that has signed its certificate itself."""
    context, authority = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), CA()
    with authority.cert_pem.tempfile() as certificate, authority.private_key_pem.tempfile() as key:
        context.load_cert_chain(certificate, key)
    return context


def trusting(authority: CA) -> ssl.SSLContext:
    """For a sender that trusts this authority besides all others."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


class Observed(ssl.SSLContext):
    """For a sender that trusts nobody; knows how long a handshake might have taken."""

    seconds: float | None = None

    def wrap_socket(self, sock: socket.socket, *args: Any, **named: Any) -> ssl.SSLSocket:
        self.seconds = sock.gettimeout()
        return super().wrap_socket(sock, *args, **named)
