"""The OpenAPI document: one typed operation per node, and all other routes. Describes; decides nothing."""

from service.api.openapi.document import build_document

__all__ = ["build_document"]
