"""What fuzzing found once, each as one plain request."""

import base64
import json
import struct
from typing import Any

import httpx
import pytest

from tests.fakes.house import API_KEY

PREVIEW = {"mode": "preview"}
PNG_WITHOUT_HEADER = b"\x89PNG\r\n\x1a\n" + bytes(range(1, 40))
JPEG_WITHOUT_FRAME = b"\xff\xd8\xff\xc0" + bytes(range(1, 40))
SMALL_PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", 20, 20) + b"\x08\x02\0\0\0"
SMALL_JPEG = b"\xff\xd8\xff\xc0\0\x11\x08" + struct.pack(">HH", 20, 20) + b"\x03\x01\x11\0\x02\x11\0\x03\x11\0"


def start(base_url: str, operation: str, body: dict[str, Any], **more: Any) -> httpx.Response:
    """Start a node of the first provider."""
    headers = {"X-API-Key": API_KEY, **more.pop("headers", {})}
    return httpx.post(f"{base_url}/v1/nodes/kling.{operation}/runs", json=body, headers=headers, **more)


def pointers(answer: httpx.Response) -> list[str]:
    """Return where the faults of a refusal are."""
    assert answer.status_code == 422, answer.text
    return [fault["pointer"] for fault in answer.json()["errors"]]


@pytest.mark.parametrize("data", [PNG_WITHOUT_HEADER, JPEG_WITHOUT_FRAME])
def test_a_picture_without_a_true_header_is_left_to_upstream(base_url: str, data: bytes) -> None:
    """Its size cannot be read, so nothing is refused for its size."""
    body = {"image": base64.b64encode(data).decode(), "prompt": "a comet"}

    answer = start(base_url, "image_to_video", body, params=PREVIEW)

    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("data", [SMALL_PNG, SMALL_JPEG])
def test_a_picture_with_a_true_header_is_judged(base_url: str, data: bytes) -> None:
    """One that is too small is refused before it is paid for."""
    body = {"image": base64.b64encode(data).decode(), "prompt": "a comet"}

    answer = start(base_url, "image_to_video", body, params=PREVIEW)

    assert pointers(answer) == ["/image"]


def test_a_whole_number_goes_upstream_as_an_integer(base_url: str) -> None:
    """JSON Schema calls 2.0 an integer, upstream does not; the same holds inside of lists."""
    shots = [{"index": 1.0, "prompt": "a comet rises", "duration": "5"}]
    body = {"multi_shot": True, "shot_type": "customize", "multi_prompt": shots}

    number = start(base_url, "image_generation", {"prompt": "a comet", "n": 2.0}, params=PREVIEW)
    member = start(base_url, "text_to_video", body, params=PREVIEW)

    assert json.dumps(number.json()["request"]["body"]["n"]) == "2"
    assert json.dumps(member.json()["request"]["body"]["multi_prompt"][0]["index"]) == "1"


def test_a_parameter_that_is_given_twice_is_refused(base_url: str) -> None:
    """Nobody can know which one is meant; a list takes all of its parts."""
    body = {"prompt": "a comet"}

    twice = start(base_url, "text_to_video", body, params={"mode": ["preview", "live"]})
    parts = start(
        base_url, "text_to_video", body, params={**PREVIEW, "webhook_events": ["run.failed", "run.queued,run.running"]}
    )

    assert pointers(twice) == ["query:mode"]
    assert parts.status_code == 200, parts.text


@pytest.mark.parametrize("url", ["http://example.com:99999/", "http://[/", "ftp://example.com/", "http://a b/"])
def test_a_webhook_url_that_cannot_be_posted_to_is_refused(base_url: str, url: str) -> None:
    """It is refused at the start, not when the first event is delivered."""
    answer = start(base_url, "text_to_video", {"prompt": "a comet"}, params={**PREVIEW, "webhook_url": url})

    assert pointers(answer) == ["query:webhook_url"]


@pytest.mark.parametrize("key", ["", '""', '"', 'a"b', "x" * 256])
def test_an_idempotency_key_has_visible_characters(base_url: str, key: str) -> None:
    """A key that is empty, half quoted or too long is refused."""
    answer = start(base_url, "text_to_video", {"prompt": "a comet"}, params=PREVIEW, headers={"Idempotency-Key": key})

    assert pointers(answer) == ["header:Idempotency-Key"]


def test_two_different_keys_are_refused(base_url: str) -> None:
    """A request is somebody's; with the same key twice it is."""
    url = f"{base_url}/v1/nodes"

    other = httpx.get(url, headers={"X-API-Key": API_KEY, "Authorization": "Bearer other"})
    same = httpx.get(url, headers={"X-API-Key": API_KEY, "Authorization": f"Bearer {API_KEY}"})
    proxy = httpx.get(url, headers={"X-API-Key": API_KEY, "Authorization": "Basic eDp5"})

    assert [answer.status_code for answer in (other, same, proxy)] == [401, 200, 200]


@pytest.mark.parametrize(("letters", "status"), [(3900, 200), (4100, 422)])
def test_metadata_is_measured_as_it_is_sent(base_url: str, letters: int, status: int) -> None:
    """Four kilobytes of JSON, whatever Python makes of them."""
    metadata = json.dumps({"note": "é" * (letters // 2)}, ensure_ascii=False)

    answer = start(base_url, "text_to_video", {"prompt": "a comet"}, params={**PREVIEW, "metadata": metadata})

    assert answer.status_code == status, answer.text
