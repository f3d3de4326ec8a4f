"""The advice for a failed installation, by the output of pip, uv and the system."""

from __future__ import annotations

import pytest

from deploy.package_errors import way_out


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        (
            "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
            "disk is full",
        ),
        (
            "error: Failed to write to the cache\n  Caused by: Disk quota exceeded (os error 122)",
            "disk is full",
        ),
        ("No space left on device; Connection refused", "disk is full"),
        ("OSError: [Errno 30] Read-only file system: '/srv/x'", "read-only"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", "another file"),
        ("  Hash mismatch for `rich==14.0`", "another file"),
        ("SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED]", "is not trusted"),
        ("Caused by: invalid peer certificate: UnknownIssuer", "is not trusted"),
        ("HTTP status client error (401 Unauthorized) for url", "refuses access"),
        ("ERROR: HTTP error 403 while getting x: 403 Client Error: Forbidden", "refuses access"),
        ("OSError('Tunnel connection failed: 407 Proxy Authentication Required')", "refuses access"),
        ("NewConnectionError('Failed to establish a new connection: [Errno 111]", "reachable from here"),
        ("Temporary failure in name resolution", "reachable from here"),
        ("error sending request for url (https://x/simple/)", "reachable from here"),
        ("Could not find a version (from versions: none)\nNo matching distribution", "reachable from here"),
        ("ERROR: No matching distribution found for uv==0.13.9", "does not have that version"),
        ("No module named venv", "venv package"),
        ("PermissionError: [Errno 13] Permission denied: '/srv'", "who owns the folder"),
        ("Killed", "The lines above say why"),
        ("", "The lines above say why"),
    ],
)
def test_the_cause_that_is_named_gets_its_advice(said: str, advice: str) -> None:
    assert advice in way_out(said)
    assert ("package index reachable" in way_out(said)) is (advice == "reachable from here")
