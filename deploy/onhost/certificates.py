"""Where this machine keeps the certificates that it trusts."""

from __future__ import annotations

from pathlib import Path

BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")


def bundle() -> str:
    """Return the file with the certificates that this machine trusts; empty if there is none."""
    return next((path for path in BUNDLES if Path(path).exists()), "")
