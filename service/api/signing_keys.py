"""The public keys with which receivers verify events, where anybody finds them."""

import base64
import hashlib
from typing import Literal

import msgspec
from litestar import Response, get
from msgspec import Struct

from service.api.answers import json_response
from service.api.auth import DEFAULT_WORKSPACE
from service.api.deps import Using
from service.api.parameters import SIGNING_KEYS, ParameterCheck
from service.api.starts import AnyRequest
from service.delivery.signer import written_public_key

# A receiver may know keys for so long: after a rotation, events are signed under the old key too for days.
_KNOWN_S = 3600

_parameters = ParameterCheck(SIGNING_KEYS)


class PublicKeyView(Struct, frozen=True, kw_only=True):
    """A public key as a JSON Web Key (RFC 8037).

    Attributes:
        kty: Kind of key.
        crv: Its curve.
        x: The key, 32 bytes in URL-safe Base64.
        kid: Its thumbprint (RFC 7638).
        use: What it is for.
        alg: Its algorithm.
        whpk: The same key as Standard Webhooks writes it.
    """

    kty: Literal["OKP"] = "OKP"
    crv: Literal["Ed25519"] = "Ed25519"
    x: str
    kid: str
    use: Literal["sig"] = "sig"
    alg: Literal["EdDSA"] = "EdDSA"
    whpk: str


class PublicKeySet(Struct, frozen=True, kw_only=True):
    """The keys that events are signed under, the current one first."""

    keys: list[PublicKeyView]


@get("/.well-known/jwks.json")
async def show_signing_keys(request: AnyRequest, services: Using) -> Response[bytes]:
    """Show the public keys of a workspace; one that nobody has heard of has keys too, so none is told of."""
    workspace = _parameters.read(request).get("workspace", DEFAULT_WORKSPACE)
    keys = [key_view(each) for each in services.public_keys(workspace)]
    return json_response(PublicKeySet(keys=keys), headers={"Cache-Control": f"public, max-age={_KNOWN_S}"})


def key_view(key: bytes) -> PublicKeyView:
    """Return what is shown of an ed25519 public key of 32 bytes."""
    x = _base64url(key)
    # RFC 7638: exactly these members, in this order, without spaces.
    thumbprint = hashlib.sha256(msgspec.json.encode({"crv": "Ed25519", "kty": "OKP", "x": x})).digest()
    return PublicKeyView(x=x, kid=_base64url(thumbprint), whpk=written_public_key(key))


def _base64url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")
