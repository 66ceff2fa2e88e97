"""Signing in to a FHIR server: a bearer token, or SMART Backend Services (a signed assertion for a short-lived token).

Secrets come from the environment. Does not belong here: what is asked of the server (`fhir_bulk.py`).
"""

from __future__ import annotations

import base64
import json
import os
import time
import uuid
from collections.abc import Mapping
from pathlib import Path

import httpx

from pipelines.failures import PermanentFailure, TransientFailure
from pipelines.harmonise.systems import FhirBulkSystem

ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_SECONDS = 300
# A token is renewed this long before it ends.
MARGIN_SECONDS = 30
EC_BYTES = 48


class Door:
    """The headers that a request needs, with a token that is still good."""

    def __init__(self, system: FhirBulkSystem, http: httpx.Client) -> None:
        self.system, self.http = system, http
        self._token, self._until = "", 0.0

    def headers(self) -> dict[str, str]:
        """`Authorization`, or nothing where the server needs none; raises PermanentFailure or TransientFailure."""
        s = self.system
        if s.token_env:
            return {"Authorization": f"Bearer {_secret(s.token_env)}"}
        if s.key_file_env:
            if time.monotonic() > self._until:
                self._sign_in(_secret(s.key_file_env))
            return {"Authorization": f"Bearer {self._token}"}
        return {}

    def _sign_in(self, key_file: str) -> None:
        s = self.system
        assert s.token_url is not None
        assert s.client_id is not None
        asked = {
            "grant_type": "client_credentials", "scope": s.scope, "client_assertion_type": ASSERTION,
            "client_assertion": assertion(Path(key_file), s.client_id, s.token_url, s.key_id),
        }  # fmt: skip
        try:
            answer = self.http.post(s.token_url, data=asked)
        except httpx.HTTPError as error:
            raise TransientFailure(f"{s.token_url}: {error}.", "It is tried again.") from error
        if answer.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
            raise TransientFailure(f"{s.token_url}: HTTP {answer.status_code}.", "It is tried again.")
        try:
            told = answer.json()
            self._token = str(told["access_token"])
            self._until = time.monotonic() + float(told.get("expires_in", 300)) - MARGIN_SECONDS
        except (ValueError, KeyError, TypeError) as error:
            raise PermanentFailure(
                f"{s.token_url} gives no token (HTTP {answer.status_code}).",
                "Check `client_id`, `scope`, and that the key's public half is registered there.",
            ) from error


def _secret(variable: str) -> str:
    value = os.environ.get(variable)
    if not value:
        raise PermanentFailure(
            f"Environment variable {variable} is not set.", "Set it before the server is asked."
        )
    return value


def assertion(key_file: Path, client_id: str, audience: str, key_id: str | None) -> str:
    """A signed JSON web token that says who we are: RS384 for an RSA key, ES384 for one on curve P-384.

    Source: SMART App Launch, Backend Services, `client_assertion`. Raises PermanentFailure for another key.
    """
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    mend = "It must be an unencrypted PEM file with an RSA key or an EC key on curve P-384."
    try:
        key = load_pem_private_key(key_file.read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise PermanentFailure(f"Private key {key_file.name} cannot be read.", mend) from error
    now = int(time.time())
    head = {"typ": "JWT", "alg": "RS384" if isinstance(key, rsa.RSAPrivateKey) else "ES384"}
    claims = {
        "iss": client_id, "sub": client_id, "aud": audience, "jti": str(uuid.uuid4()),
        "iat": now, "exp": now + ASSERTION_SECONDS,
    }  # fmt: skip
    signed = f"{_encoded(head | ({'kid': key_id} if key_id else {}))}.{_encoded(claims)}"
    if isinstance(key, rsa.RSAPrivateKey):
        signature = key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA384())
    elif isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP384R1):
        r, s = decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(hashes.SHA384())))
        signature = r.to_bytes(EC_BYTES, "big") + s.to_bytes(EC_BYTES, "big")
    else:
        raise PermanentFailure(f"Private key {key_file.name} is of another kind.", mend)
    return f"{signed}.{_base64(signature)}"


def _encoded(told: Mapping[str, object]) -> str:
    return _base64(json.dumps(told, separators=(",", ":")).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
