"""The AsyncAPI document: which events go out, where to, and what they look like. Describes; decides nothing."""

from service.api.asyncapi.document import build_asyncapi

__all__ = ["build_asyncapi"]
