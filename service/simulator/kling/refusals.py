"""How the family refuses: its service codes with their HTTP status, and the shapes in which they arrive."""

from http import HTTPStatus
from typing import Final

import msgspec
from aiohttp import web

from service.simulator.aggregator import Refused, json_answer
from service.simulator.scenario import RefusalShape

INVALID_PARAMETER: Final = 1201
WRONG_METHOD: Final = 1202
NO_SUCH_RESOURCE: Final = 1203
TOO_FAST: Final = 1302
NO_FREE_SLOT: Final = 1303
INTERNAL_ERROR: Final = 5000

CODES: Final[dict[int, tuple[int, str]]] = {
    1000: (401, "Authentication failed"),
    1001: (401, "Authorization is empty"),
    1002: (401, "Authorization is invalid"),
    1003: (401, "Authorization is not yet valid"),
    1004: (401, "Authorization has expired"),
    1100: (429, "Account exception"),
    1101: (429, "Account in arrears"),
    1102: (429, "Account balance not enough"),
    1103: (403, "No access to the requested resource"),
    1200: (400, "Invalid request"),
    1201: (400, "Invalid parameter"),
    1202: (404, "Invalid method"),
    1203: (404, "Requested resource does not exist"),
    1300: (400, "Platform policy triggered"),
    1301: (400, "Content safety policy triggered"),
    1302: (429, "Requests are too frequent"),
    1303: (429, "parallel task over resource pack limit"),
    1304: (429, "Address is not on the allow-list"),
    5000: (500, "Internal error"),
    5001: (503, "Service under maintenance"),
    5002: (504, "Internal timeout"),
}


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """A service code in one of the shapes of section 1.5; an empty message stands for the code's own text."""

    code: int
    message: str = ""
    shape: RefusalShape = "plain"

    def answer(self, request_id: str) -> web.Response:
        """Make the HTTP answer."""
        status, text = CODES[self.code]
        message = self.message or text
        refusal = {"code": self.code, "message": message, "request_id": request_id}
        if self.shape == "nested":
            return json_answer({"message": message, "data": {"data": refusal, "message": message}}, status)
        return json_answer(refusal, HTTPStatus.OK if self.shape == "http200" else status)

    def raised(self, request_id: str) -> Refused:
        """Make the exception that ends the request with this refusal."""
        return Refused(self.answer(request_id))
