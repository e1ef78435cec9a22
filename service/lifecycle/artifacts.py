"""Results as they were read, into results as users see them.

An artifact's id is that of its run and its place in it, so the run of an artifact is known without asking.
"""

from collections.abc import Sequence

from service.definitions.results import ReadArtifact
from service.lifecycle.run import Artifact

_PREFIX = "art_"
_RUN_PREFIX = "run_"
_ULID_LENGTH = 26


def artifact_id(run_id: str, place: int) -> str:
    """Return the id of a run's artifact.

    Args:
        run_id: The run.
        place: Its place among all results of the run, whatever their roles.
    """
    return f"{_PREFIX}{run_id.removeprefix(_RUN_PREFIX)}{place:02}"


def run_of(artifact: str) -> str:
    """Return the id of the run that an artifact id belongs to."""
    return _RUN_PREFIX + artifact.removeprefix(_PREFIX)[:_ULID_LENGTH]


def numbered(found: Sequence[ReadArtifact], run_id: str) -> tuple[Artifact, ...]:
    """Give the results of a run their ids and their places among those of their role."""
    places: dict[str, int] = {}
    artifacts = []
    for place, each in enumerate(found):
        index = places.get(each.role, 0)
        places[each.role] = index + 1
        artifacts.append(
            Artifact(
                id=artifact_id(run_id, place),
                kind=each.kind,
                role=each.role,
                index=index,
                url=each.url,
                mime=each.mime or _mime(each.url),
                seconds=each.seconds,
                upstream_id=each.upstream_id,
                size_bytes=each.size_bytes,
                stored=each.url is None and each.size_bytes is not None,
            )
        )
    return tuple(artifacts)


_MIMES = {
    "mp4": "video/mp4",
    "mov": "video/quicktime",
    "webm": "video/webm",
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "gif": "image/gif",
    "svg": "image/svg+xml",
    "mp3": "audio/mpeg",
    "wav": "audio/wav",
    "glb": "model/gltf-binary",
}


def _mime(url: str | None) -> str | None:
    path = (url or "").partition("?")[0].partition("#")[0]
    return _MIMES.get(path.rpartition(".")[2].lower())
