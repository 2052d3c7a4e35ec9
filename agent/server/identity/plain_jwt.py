"""PyJWT without `cryptography`: it would load 10 MB for algorithms that no token of ours may have.

Where another part has it loaded already (the command line, tests) nothing is gained and nothing is changed.
"""

from __future__ import annotations

import sys

if "cryptography" in sys.modules:
    import jwt
else:
    sys.modules["cryptography"] = None  # type: ignore[assignment]  # how an import is said to fail
    try:
        import jwt
    finally:
        del sys.modules["cryptography"]

base64url_decode, base64url_encode = jwt.utils.base64url_decode, jwt.utils.base64url_encode

__all__ = ["base64url_decode", "base64url_encode", "jwt"]
