"""Whether an event is what the AsyncAPI document says, and nothing more."""

from copy import deepcopy
from typing import Any

import jsonschema_rs


def closed_validator(document: dict[str, Any], name: str) -> jsonschema_rs.Draft7Validator:
    """Return a validator of the bodies of a type, which takes no field that the document does not name."""
    schemas = deepcopy(document["components"]["schemas"])
    for schema in schemas.values():
        if "properties" in schema:
            schema["additionalProperties"] = False
    payload = document["components"]["messages"][name]["payload"]
    return jsonschema_rs.Draft7Validator({**payload, "components": {"schemas": schemas}}, validate_formats=True)
