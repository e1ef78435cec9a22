"""Seals what endpoints keep anew when the secret key has been rotated: they outlive the old keys, unlike deliveries."""

import msgspec

from service.lifecycle.endpoint import Endpoint, EndpointChange, SigningSecret
from service.log import Log
from service.sealing import CannotOpen, Sealer
from service.store.base import Store

_PAGE = 200


async def renew_seals(store: Store, sealer: Sealer, log: Log) -> None:
    """Seal URLs, headers and secrets of all endpoints with the current key; what no key opens is left and told of."""
    after = ""
    while page := await store.all_endpoints(after, _PAGE):
        for endpoint in page:
            after = endpoint.id
            try:
                if _renewed(endpoint, sealer) != endpoint:
                    await store.change_endpoint(
                        endpoint.id, lambda current: EndpointChange(endpoint=_renewed(current, sealer))
                    )
            except CannotOpen as exc:
                log.warning("endpoint.sealed", endpoint=endpoint.id, error=str(exc))


def _renewed(endpoint: Endpoint, sealer: Sealer) -> Endpoint:
    headers = endpoint.sealed_headers
    return msgspec.structs.replace(
        endpoint,
        url=sealer.renewed(endpoint.url) if endpoint.url else "",
        sealed_headers=None if headers is None else sealer.renewed(headers),
        secrets=tuple(
            SigningSecret(sealed=sealer.renewed(each.sealed), expires_at=each.expires_at) for each in endpoint.secrets
        ),
    )
