"""The generated files of the checkout: the documents of the API and of its events, the page of nodes, JSON Schemas.

They are committed, so that people and editors find them without running anything; `stale` tells when one is not
what the code says.
"""

from pathlib import Path

from service.api.asyncapi import build_asyncapi
from service.api.nodes_page import nodes_page
from service.api.openapi import build_document
from service.definitions.catalog import load_catalog
from service.definitions.format_schema import format_schemas


def generated_files() -> dict[str, bytes]:
    """Return the content of every generated file, by its path in the checkout."""
    schemas = {f"openapi/schemas/{name}": content for name, content in format_schemas().items()}
    catalog = load_catalog()
    return {
        "openapi/openapi.json": build_document(catalog),
        "openapi/asyncapi.json": build_asyncapi(catalog),
        "docs/nodes.md": nodes_page(catalog),
        **schemas,
    }


def write(root: Path) -> None:
    """Write all generated files into a checkout."""
    for path, content in generated_files().items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


def stale(root: Path) -> list[str]:
    """Return the paths of generated files that are missing from a checkout or differ from what the code says."""
    files = generated_files().items()
    return [path for path, content in files if _content(root / path) != content]


def _content(file: Path) -> bytes | None:
    return file.read_bytes() if file.is_file() else None
