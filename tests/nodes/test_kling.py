"""The first family: its rows, its paths, and requests in the shape of its reference."""

import base64
import struct
from typing import Any

import pytest

from service.definitions.catalog import CompiledNode, load_catalog
from service.errors import InvalidInput

CATALOG = load_catalog()
NODES = [node for node in CATALOG.nodes.values() if node.provider.provider == "kling" and node.node.kind != "local"]
SEED_ROWS = {
    "kling.multi_elements_init": "Initialize Video for Editing",
    "kling.multi_elements_add_selection": "Add Video Selection",
    "kling.multi_elements_delete_selection": "Delete Video Selection",
    "kling.multi_elements_clear_selection": "Clear Video Selection",
    "kling.multi_elements_preview_selection": "Preview Selected Video Area",
    "kling.multi_elements_create_task": "Create Task",
    "kling.image_generation": "Generating images",
    "kling.image_expand": "Expanded",
    "kling.text_to_video": "Text Generation Video",
    "kling.image_to_video": "Image Generation Video",
    "kling.multi_image_to_video": "Multi-Image To Video",
    "kling.multi_image_to_image": "Multi-Image to Image",
    "kling.video_extend": "Video Extension",
    "kling.virtual_try_on": "virtual try-on",
    "kling.lip_sync": "lip sync",
    "kling.effects": "effects",
    "kling.video_to_audio": "Video to audio",
    "kling.text_to_audio": "Text to audio",
    "kling.query": "Individual queries",
    "kling.identify_face": None,
    "kling.advanced_lip_sync": None,
    "kling.avatar": None,
    "kling.tts": None,
    "kling.omni_video": None,
}
PATHS = {
    "kling.multi_elements_init": "POST /kling/v1/videos/multi-elements/init-selection",
    "kling.multi_elements_add_selection": "POST /kling/v1/videos/multi-elements/add-selection",
    "kling.multi_elements_delete_selection": "POST /kling/v1/videos/multi-elements/delete-selection",
    "kling.multi_elements_clear_selection": "POST /kling/v1/videos/multi-elements/clear-selection",
    "kling.multi_elements_preview_selection": "POST /kling/v1/videos/multi-elements/preview-selection",
    "kling.multi_elements_create_task": "POST /kling/v1/videos/multi-elements",
    "kling.image_generation": "POST /kling/v1/images/generations",
    "kling.image_expand": "POST /kling/v1/images/editing/expand",
    "kling.text_to_video": "POST /kling/v1/videos/text2video",
    "kling.image_to_video": "POST /kling/v1/videos/image2video",
    "kling.multi_image_to_video": "POST /kling/v1/videos/multi-image2video",
    "kling.multi_image_to_image": "POST /kling/v1/images/generations",
    "kling.video_extend": "POST /kling/v1/videos/video-extend",
    "kling.virtual_try_on": "POST /kling/v1/images/kolors-virtual-try-on",
    "kling.lip_sync": "POST /kling/v1/videos/lip-sync",
    "kling.effects": "POST /kling/v1/videos/effects",
    "kling.video_to_audio": "POST /kling/v1/audio/video-to-audio",
    "kling.text_to_audio": "POST /kling/v1/audio/text-to-audio",
    "kling.query": "GET /kling/v1/videos/text2video/861309198188019719",
    "kling.identify_face": "POST /kling/v1/videos/identify-face",
    "kling.advanced_lip_sync": "POST /kling/v1/videos/advanced-lip-sync",
    "kling.avatar": "POST /kling/v1/videos/avatar/image2video",
    "kling.tts": "POST /kling/v1/audio/tts",
    "kling.omni_video": "POST /kling/v1/videos/omni-video",
}
DIRECT = {"kling.identify_face", "kling.tts"} | {
    f"kling.multi_elements_{each}"
    for each in ("init", "add_selection", "delete_selection", "clear_selection", "preview_selection")
}
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 640, 640) + bytes(20)).decode()
MP3 = base64.b64encode(b"ID3\x04\x00\x00" + bytes(30)).decode()
URL = "https://example.com/a.png"


def body(node: str, given: dict[str, Any]) -> dict[str, Any]:
    """Return the body that a node sends for an input."""
    compiled = CATALOG.get(node)
    request = compiled.plan.build(compiled.inputs.check(given))
    assert request.body is not None
    return request.body


def refused(node: str, given: dict[str, Any]) -> set[str]:
    """Return the pointers of what a node refuses in an input."""
    with pytest.raises(InvalidInput) as caught:
        CATALOG.get(node).inputs.check(given)
    return {fault.pointer for fault in caught.value.faults}


def test_every_row_is_a_node() -> None:
    """The rows of the reference are the nodes."""
    assert {node.id: node.node.seed_row for node in NODES} == SEED_ROWS


def test_paths_are_those_of_the_reference() -> None:
    """Every operation is sent where the reference says."""
    found = {}
    for node in NODES:
        request = node.plan.build(node.inputs.check(node.example()))
        found[node.id] = f"{request.method} {request.path}"

    assert found == PATHS


def test_kinds_are_those_of_the_reference() -> None:
    """What answers at once is direct, the query is a query, all others are followed."""
    kinds = {node.id: node.node.kind for node in NODES}

    assert {name for name, kind in kinds.items() if kind == "direct"} == DIRECT
    assert {name for name, kind in kinds.items() if kind == "query"} == {"kling.query"}


@pytest.mark.parametrize("node", NODES, ids=lambda node: node.id)
def test_examples_can_be_sent(node: CompiledNode) -> None:
    """The documented example passes the node's own check, and goes out with our ids where they are taken."""
    checked = node.inputs.check(node.example())

    request = node.plan.build(checked, callback_url="https://example.com/c", external_id="our-id")

    is_task = node.node.kind == "task"
    sent = request.body or {}
    assert sent.get("callback_url") == ("https://example.com/c" if is_task else None)
    assert sent.get("external_task_id") == ("our-id" if is_task else None)
    assert "Authorization" not in request.headers


@pytest.mark.parametrize("node", [node for node in NODES if "model_name" in node.fields], ids=lambda n: n.id)
def test_the_model_is_always_sent(node: CompiledNode) -> None:
    """Without a model upstream falls back to one that is switched off."""
    sent = body(node.id, node.example())

    assert sent.get("model_name") or sent["input"]["model_name"]


def test_only_needed_defaults_are_sent() -> None:
    """What upstream assumes by itself is not sent."""
    assert body("kling.text_to_video", {"prompt": "a"}) == {"prompt": "a", "model_name": "kling-v2-master"}
    assert body("kling.image_generation", {"prompt": "a"}) == {"prompt": "a", "model_name": "kling-v3"}


@pytest.mark.parametrize("given", [PNG, f"data:image/png;base64,{PNG}"])
def test_images_go_out_as_raw_base64(given: str) -> None:
    """The data-URI prefix, which upstream refuses, is taken off, in lists too."""
    assert body("kling.image_to_video", {"image": given})["image"] == PNG
    assert body("kling.multi_image_to_video", {"image_list": [{"image": given}, URL]})["image_list"] == [
        {"image": PNG},
        {"image": URL},
    ]
    assert body("kling.effects", {"effect_scene": "hug", "images": [given, URL]})["input"]["images"] == [
        PNG,
        URL,
    ]


def test_lip_sync_of_a_text() -> None:
    """Flat or native, the input of lip sync goes out below `input`."""
    flat = {"video_id": "1", "task_id": "2", "mode": "text2video", "text": "Hi", "voice_id": "v"}
    expected = {"input": {**flat, "voice_language": "zh"}}

    assert body("kling.lip_sync", flat) == expected
    assert body("kling.lip_sync", {"input": flat}) == expected


def test_lip_sync_of_a_sound() -> None:
    """A sound goes as a file in raw Base64 or as a URL, without words about a voice."""
    common = {"video_id": "1", "task_id": "2", "mode": "audio2video"}
    file = {**common, "audio_type": "file", "audio_file": f"data:audio/mp3;base64,{MP3}"}
    url = {**common, "audio_type": "url", "audio_url": "https://example.com/a.mp3"}

    assert body("kling.lip_sync", file) == {"input": {**file, "audio_file": MP3}}
    assert body("kling.lip_sync", url) == {"input": url}


def test_lip_sync_needs_what_its_mode_needs() -> None:
    """Each mode asks for its own inputs before anything is sent."""
    common = {"video_id": "1", "task_id": "2"}

    assert refused("kling.lip_sync", {**common, "mode": "text2video"}) == {"/text", "/voice_id"}
    assert refused("kling.lip_sync", {**common, "mode": "audio2video"}) == {"/audio_type"}
    assert refused("kling.lip_sync", {**common, "mode": "audio2video", "audio_type": "url"}) == {"/audio_url"}
    assert refused("kling.lip_sync", {**common, "mode": "audio2video", "audio_type": "file"}) == {"/audio_file"}


def test_lip_sync_warns_where_the_task_of_the_video_is_missing() -> None:
    """The pages disagree on `task_id`: without it the call goes out, with a word of warning."""
    node = CATALOG.get("kling.lip_sync")
    values = {"video_id": "1", "mode": "text2video", "text": "Hi", "voice_id": "v"}

    without = " ".join(node.warnings(node.inputs.check(values)))
    given = " ".join(node.warnings(node.inputs.check({**values, "task_id": "2"})))
    assert "task_id" in without
    assert "task_id" not in given


def test_effects() -> None:
    """Effects of one image and of two people have the shape that each needs."""
    one = body("kling.effects", {"effect_scene": "squish", "input": {"image": URL}})
    two = body("kling.effects", {"effect_scene": "kiss_pro", "images": [URL, URL], "duration": 10})

    assert one == {
        "effect_scene": "squish",
        "input": {"image": URL, "duration": "5", "model_name": "kling-v1-6"},
    }
    assert two["input"] == {
        "images": [URL, URL],
        "duration": "10",
        "model_name": "kling-v1-6",
        "mode": "std",
    }
    assert refused("kling.effects", {"effect_scene": "hug", "images": [URL]}) == {"/images"}
    assert refused("kling.effects", {"effect_scene": "hug", "image": URL, "images": [URL, URL]}) == {""}


def test_image_expansion_goes_out_under_both_names() -> None:
    """The two names of the lower edge carry the same value, and either may be given."""
    ours = body("kling.image_expand", {"image": URL, "down_expansion_ratio": "0.5"})
    theirs = body("kling.image_expand", {"image": URL, "bottom_expansion_ratio": 0.5})

    assert ours == theirs
    assert (ours["down_expansion_ratio"], ours["bottom_expansion_ratio"], ours["up_expansion_ratio"]) == (
        0.5,
        0.5,
        0,
    )
    assert CATALOG.get("kling.image_expand").warnings({})


def test_advanced_lip_sync() -> None:
    """Times are whole milliseconds, and the volume of the video goes out under both names."""
    face = {
        "face_id": "0",
        "audio_id": "1",
        "sound_start_time": "0",
        "sound_end_time": "2000",
        "sound_insert_time": 1,
    }

    sent = body("kling.advanced_lip_sync", {"session_id": "s", "face_choose": {**face, "original_audio_volume": 0.5}})

    assert sent["face_choose"] == [
        {
            "face_id": "0",
            "audio_id": "1",
            "sound_start_time": 0,
            "sound_end_time": 2000,
            "sound_insert_time": 1,
            "original_audio_volume": 0.5,
            "original_sound_volume": 0.5,
        }
    ]
    assert refused("kling.advanced_lip_sync", {"session_id": "s", "face_choose": [{**face, "sound_file": MP3}]}) == {
        "/face_choose/0"
    }


def test_advanced_lip_sync_is_asked_for_by_its_own_id_only() -> None:
    """Our id is sent with it, yet upstream does not find the task by it."""
    plan = CATALOG.get("kling.advanced_lip_sync").plan

    assert plan.external_id_field == "external_task_id"
    assert plan.query_by_external_id("/kling/v1/videos/advanced-lip-sync", "x") is None


@pytest.mark.parametrize("path", ["/kling/v1/images/generations", "/kling/v1/images/multi-image2image"])
def test_the_path_of_multi_image_to_image_is_a_setting(path: str) -> None:
    """The path is chosen by the user, is no part of the body, and is kept for the query."""
    node = CATALOG.get("kling.multi_image_to_image")
    given = {"subject_image_list": [{"subject_image": URL}, {"subject_image": URL}], "path": path}

    request = node.plan.build(node.inputs.check(given))
    query = node.plan.query(request.path, "8613")

    assert request.path == path
    assert request.body == {"subject_image_list": given["subject_image_list"], "model_name": "kling-v2-1"}
    assert query is not None
    assert query.path == f"{path}/8613"


@pytest.mark.parametrize(
    ("action2", "task_id"),
    [
        ("..", "1"),
        ("../../v2", "1"),
        ("a/../b", "1"),
        ("a//b", "1"),
        ("/a", "1"),
        ("a?b", "1"),
        ("a", "../x"),
        ("a", ".."),
        ("a/b/c", "1"),
        ("", "1"),
        ("a", "1?x=y"),
    ],
)
def test_a_query_stays_below_its_path(action2: str, task_id: str) -> None:
    """No input of the query node leads to another path."""
    assert refused("kling.query", {"action": "videos", "action2": action2, "task_id": task_id})


def test_a_query_may_have_a_path_of_two_parts() -> None:
    """Operations with a slash in their path can be asked about."""
    node = CATALOG.get("kling.query")

    request = node.plan.build(
        node.inputs.check({"action": "videos", "action2": "avatar/image2video", "task_id": "CmJ8_-="})
    )

    assert (request.method, request.path, request.body) == (
        "GET",
        "/kling/v1/videos/avatar/image2video/CmJ8_-%3D",
        None,
    )


def test_the_first_frame_or_the_last() -> None:
    """Image to video needs one of its two frames, and takes one kind of control."""
    masks = {"static_mask": URL, "camera_control": {"type": "down_back"}}

    assert refused("kling.image_to_video", {"prompt": "a"}) == {""}
    assert body("kling.image_to_video", {"image_tail": URL})["image_tail"] == URL
    assert refused("kling.image_to_video", {"image": URL, "image_tail": URL, "static_mask": URL}) == {""}
    assert refused("kling.image_to_video", {"image": URL, **masks}) == {""}


def test_camera_control() -> None:
    """A simple move has exactly one value other than zero, a ready-made one has none."""
    simple = {"type": "simple", "config": {"zoom": 3}}

    sent = body("kling.text_to_video", {"prompt": "a", "camera_control": simple})["camera_control"]

    assert sent["config"] == {"horizontal": 0, "vertical": 0, "pan": 0, "tilt": 0, "roll": 0, "zoom": 3}
    for wrong in (
        {"type": "simple"},
        {"type": "down_back", "config": {"zoom": 3}},
        {"type": "simple", "config": {"zoom": 3, "pan": 1}},
        {"type": "simple", "config": {"zoom": 11}},
    ):
        assert refused("kling.text_to_video", {"prompt": "a", "camera_control": wrong})


def test_several_shots() -> None:
    """The prompt is needed unless the shots have their own."""
    shots = [{"index": 1, "prompt": "a", "duration": "3"}]
    whole = {"multi_shot": True, "shot_type": "customize", "multi_prompt": shots, "model_name": "kling-v3"}

    assert body("kling.text_to_video", whole) == whole
    assert refused("kling.text_to_video", {}) == {"/prompt"}
    assert refused("kling.text_to_video", {"multi_shot": True}) == {"/shot_type"}
    assert refused("kling.text_to_video", {**whole, "shot_type": "intelligence"}) == {"/prompt"}


def test_omni_video() -> None:
    """Images, elements and a video keep their own names; the ratio is sent where nothing gives it."""
    given = {
        "prompt": "a <<<image_1>>>",
        "image_list": [{"image_url": PNG, "type": "first_frame"}],
        "element_list": [{"element_id": 829387123}],
        "video_list": [{"video_url": URL, "refer_type": "feature", "keep_original_sound": "no"}],
    }

    assert body("kling.omni_video", given) == {**given, "model_name": "kling-video-o1"}
    assert body("kling.omni_video", {"prompt": "a"})["aspect_ratio"] == "16:9"


def test_the_avatar_always_has_a_prompt() -> None:
    """Upstream may refuse an avatar without a prompt, so one is sent."""
    sent = body("kling.avatar", {"image": URL, "sound_file": MP3})

    assert sent["prompt"]
    assert refused("kling.avatar", {"image": URL, "sound_file": MP3, "audio_id": "1"}) == {""}


def test_editing_needs_the_pictures_of_its_mode() -> None:
    """Addition and swap need pictures, removal has none."""
    common = {"session_id": "s", "prompt": "a"}
    pictures = {"image_list": [{"image": URL}]}

    assert refused("kling.multi_elements_create_task", {**common, "edit_mode": "swap"}) == {"/image_list"}
    assert refused("kling.multi_elements_create_task", {**common, **pictures, "edit_mode": "removal"}) == {""}
    assert body("kling.multi_elements_create_task", {**common, **pictures, "edit_mode": "addition"}) == {
        **common,
        **pictures,
        "edit_mode": "addition",
        "model_name": "kling-v1-6",
    }


def test_a_length_in_seconds_is_a_number_for_sounds_and_a_text_for_videos() -> None:
    """Each operation gets the type that its page names."""
    assert body("kling.text_to_audio", {"prompt": "a", "duration": "5.5"}) == {"prompt": "a", "duration": 5.5}
    assert body("kling.text_to_video", {"prompt": "a", "duration": 10})["duration"] == "10"


@pytest.mark.parametrize(
    ("node", "given", "part"),
    [
        ("kling.text_to_video", {"prompt": "x" * 501}, "500 characters"),
        ("kling.text_to_video", {"prompt": "x", "model_name": "kling-v1"}, "switched off"),
        ("kling.text_to_video", {"prompt": "x", "duration": "7"}, "other lengths"),
        ("kling.text_to_video", {"prompt": "x", "cfg_scale": 0.2}, "no cfg_scale"),
        ("kling.text_to_video", {"prompt": "x", "sound": "on", "model_name": "kling-v2-6"}, "mode pro only"),
        ("kling.text_to_video", {"prompt": "x", "mode": "pro"}, "no modes"),
        ("kling.image_to_video", {"image_tail": URL, "image": URL}, "last frame"),
        ("kling.image_to_video", {"image": URL, "voice_list": [{"voice_id": "1"}]}, "need sound"),
        ("kling.image_to_video", {"image_tail": URL, "model_name": "kling-v2-1", "mode": "std"}, "pro only"),
        ("kling.effects", {"effect_scene": "hug", "images": [URL, URL]}, "retired"),
        ("kling.effects", {"effect_scene": "hug_pro", "image": URL}, "two people"),
        ("kling.video_extend", {"video_id": "1"}, "task_id"),
        ("kling.multi_elements_init", {"video_id": "1", "task_id": "2"}, "must not be sent"),
        ("kling.multi_image_to_image", {"subject_image_list": [{"subject_image": URL}]}, "fewer than two"),
    ],
)
def test_doubtful_inputs_are_warned_of(node: str, given: dict[str, Any], part: str) -> None:
    """What may not work is let through with a word about it."""
    compiled = CATALOG.get(node)

    said = compiled.warnings(compiled.inputs.check(given))

    assert any(part in sentence for sentence in said)


def test_harmless_inputs_are_not_warned_of() -> None:
    """The examples are free of doubt, but for operations that upstream gave up or replaced."""
    said = {node.id: node.warnings(node.inputs.check(node.example())) for node in NODES}

    assert {name for name, sentences in said.items() if sentences} == {"kling.image_expand", "kling.lip_sync"}


def test_pace_follows_what_is_made() -> None:
    """Images and sounds are asked about sooner than videos."""
    first = {node.id: node.pace.first_s for node in NODES if node.node.kind == "task"}

    quick = {
        "image_generation",
        "image_expand",
        "multi_image_to_image",
        "virtual_try_on",
        "text_to_audio",
        "video_to_audio",
    }
    assert {name for name, seconds in first.items() if seconds == 5.0} == {f"kling.{each}" for each in quick}
    assert set(first.values()) == {5.0, 15.0}
