"""What pip, uv and the system say when packages cannot be installed, and what to do about it. Pure."""

from __future__ import annotations

_FULL = (
    "The disk is full, or the quota is used up: free space in this folder, in the temporary folder (TMPDIR) "
    "and in the caches of pip and uv."
)
_READ_ONLY = "This file system is mounted read-only: make it writable."
_OTHER_FILE = (
    "The package index delivered another file than requirements/ names: ask those who run the index or the "
    "proxy in front of it, or clear the cache (pip cache purge)."
)
_NO_TRUST = (
    "The certificate of the package index is not trusted here: add its CA to the system's store, or name a "
    "bundle in SSL_CERT_FILE and PIP_CERT."
)
_REFUSED = (
    "The package index, or the proxy in front of it, refuses access: check user and password in pip's "
    "settings."
)
_UNREACHABLE = "Is a package index reachable from here (pip's settings and the proxy variables are used)?"
_OUTDATED = (
    "The package index does not have that version: use one that is up to date (pip's settings are used)."
)
_NO_VENV = (
    "This Python cannot make virtual environments: install its venv package "
    "(Debian and Ubuntu: apt-get install -y python3-venv)."
)
_DENIED = "This user may not write there: check who owns the folder."
_UNCLEAR = "The lines above say why: correct that."

# Advice → words that call for it, in lower case; the surest first.
_CAUSES = {
    _FULL: ("no space left on device", "disk quota exceeded", "(os error 28)", "(os error 122)"),
    _READ_ONLY: ("read-only file system", "(os error 30)"),
    _OTHER_FILE: ("do not match the hashes", "hash mismatch"),
    _NO_TRUST: (
        *("certificate_verify_failed", "certificate verify failed"),
        *("unknownissuer", "invalid peer certificate"),
    ),
    _REFUSED: (
        *("401 client error", "403 client error", "407 proxy"),
        *("401 unauthorized", "403 forbidden"),
    ),
    _UNREACHABLE: (
        *("failed to establish a new connection", "name resolution", "connection refused", "timed out"),
        *("error sending request", "dns error", "unreachable", "connection reset"),
        *("proxyerror", "connection error", "could not connect", "from versions: none"),
    ),
    _OUTDATED: (
        *("no matching distribution found", "no solution found"),
        *("not found in the package registry", "404 not found"),
    ),
    _NO_VENV: ("ensurepip", "no module named venv", "no module named pip"),
    _DENIED: ("permission denied", "(os error 13)"),
}


def way_out(said: str) -> str:
    """Return what to do after a program has failed with these words: the first cause that they name."""
    lowered = said.lower()
    return next(
        (advice for advice, words in _CAUSES.items() if any(map(lowered.__contains__, words))), _UNCLEAR
    )
