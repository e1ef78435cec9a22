"""What the family answers at once: editing sessions with their selections, faces, and speech.

Each function takes the desk and a checked body and returns the `data` of the answer. A recognition that
fails is an accepted answer whose `data.status` is not zero.
"""

import base64
from typing import Any

import msgspec

from service.simulator import samples
from service.simulator.kling.answers import Json, milliseconds
from service.simulator.kling.bodies import IdentifyFace, InitSelection, Selection, Session, Tts
from service.simulator.kling.refusals import NO_SUCH_RESOURCE, Refusal
from service.simulator.scenario import Scenario
from service.simulator.stage import Stage

SESSION_LIFE_S = 24 * 3600
MAX_MARKED_FRAMES = 10
TOO_MANY_FRAMES = 2
NOT_SELECTED = 3
NOTHING_SELECTED = 4
WIDTH = HEIGHT = 320


class EditSession(msgspec.Struct, kw_only=True):
    """An editing session, or one of recognised faces, which has no frames."""

    expires_at: float
    frames: dict[int, set[tuple[float, float]]] = {}


class Desk(msgspec.Struct, frozen=True, kw_only=True):
    """What a direct answer is made with."""

    stage: Stage
    base_url: str
    scenario: Scenario

    def link(self, name: str) -> str:
        """Write a link to a fresh file."""
        expires_at = self.stage.clock.now() + samples.LINK_LIFE_S
        return samples.link(self.base_url, f"{self.stage.ids.next()}-{name}", expires_at)

    def open_session(self) -> str:
        """Begin a session and return its id."""
        session_id = self.stage.ids.next()
        expires_at = self.stage.clock.now() + SESSION_LIFE_S
        self.stage.sessions.put(session_id, EditSession(expires_at=expires_at))
        return session_id


def session_of(stage: Stage, session_id: str) -> EditSession:
    """Find a session.

    Raises:
        Refused: There is none, it has expired, or it was begun at another simulator.
    """
    session: EditSession | None = stage.sessions.get(session_id)
    if session is not None and session.expires_at > stage.clock.now():
        return session
    if not stage.options.strict_sessions:
        session = EditSession(expires_at=stage.clock.now() + SESSION_LIFE_S)
        stage.sessions.put(session_id, session)
        return session
    refusal = Refusal(code=NO_SUCH_RESOURCE, message=f"session {session_id} does not exist")
    raise refusal.raised(stage.ids.next())


def _data(session_id: str, status: int = 0, **more: Any) -> Json:
    return {"status": status, "session_id": session_id, "final_unit_deduction": "0"} | more


def init_selection(desk: Desk, _body: InitSelection) -> Json:
    """Begin an editing session on a video."""
    if desk.scenario.unrecognized:
        return _data("", desk.scenario.unrecognized)
    return _data(
        desk.open_session(),
        fps=24.0,
        original_duration=5041,
        width=WIDTH,
        height=HEIGHT,
        total_frame=121,
        normalized_video=desk.link("0.mp4"),
    )


def _masks(frame_index: int) -> Json:
    picture = base64.b64encode((samples.FOLDER / "sample.png").read_bytes()).decode()
    size = [HEIGHT, WIDTH]
    mask = {
        "object_id": 0,
        "rle_mask": {"size": size, "counts": "PPYo1"},
        "png_mask": {"size": size, "base64": picture},
    }
    return {"frame_index": frame_index, "rle_mask_list": [mask]}


def add_selection(desk: Desk, body: Selection) -> Json:
    """Mark points in one frame."""
    frames = session_of(desk.stage, body.session_id).frames
    if desk.scenario.unrecognized:
        return _data(body.session_id, desk.scenario.unrecognized)
    if body.frame_index not in frames and len(frames) >= MAX_MARKED_FRAMES:
        return _data(body.session_id, TOO_MANY_FRAMES)
    frames.setdefault(body.frame_index, set()).update((point.x, point.y) for point in body.points)
    return _data(body.session_id, res=_masks(body.frame_index))


def delete_selection(desk: Desk, body: Selection) -> Json:
    """Take back points that were marked in one frame."""
    frames = session_of(desk.stage, body.session_id).frames
    points = {(point.x, point.y) for point in body.points}
    marked = frames.get(body.frame_index, set())
    if not points <= marked:
        return _data(body.session_id, NOT_SELECTED)
    marked -= points
    if not marked:
        del frames[body.frame_index]
    return _data(body.session_id, res=_masks(body.frame_index))


def clear_selection(desk: Desk, body: Session) -> Json:
    """Take back all points."""
    session_of(desk.stage, body.session_id).frames.clear()
    return _data(body.session_id)


def preview_selection(desk: Desk, body: Session) -> Json:
    """Show what is selected."""
    session = session_of(desk.stage, body.session_id)
    status = desk.scenario.unrecognized or (0 if session.frames else NOTHING_SELECTED)
    if status:
        return _data(body.session_id, status)
    shown = {
        "video": desk.link("0.mp4"),
        "video_cover": desk.link("1.png"),
        "tracking_output": desk.link("2.png"),
    }
    return _data(body.session_id, res=shown)


def identify_face(desk: Desk, _body: IdentifyFace) -> Json:
    """List the faces in a video; none is an accepted answer."""
    face = {"face_id": "0", "face_image": desk.link("0.png"), "start_time": 0, "end_time": 5000}
    faces = [] if desk.scenario.unrecognized else [face]
    return {"session_id": desk.open_session(), "face_data": faces}


def tts(desk: Desk, body: Tts) -> Json:
    """Speak a text; a relay tells of it in its own words."""
    audio_id, seconds = desk.stage.ids.next(), max(2.0, len(body.text) / 15)
    url = desk.link("0.mp3")
    if desk.scenario.envelope in ("double", "openai"):
        return {"audio_id": audio_id, "audio_url": url, "duration": milliseconds(seconds)}
    now_ms = milliseconds(desk.stage.clock.now())
    return {
        "task_id": desk.stage.ids.next(),
        "task_status": "succeed",
        "task_status_msg": "",
        "task_result": {"audios": [{"id": audio_id, "url": url, "duration": f"{seconds:.1f}"}]},
        "created_at": now_ms,
        "updated_at": now_ms,
    }
