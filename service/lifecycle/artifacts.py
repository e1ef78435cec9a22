"""Results as they were read, into results as users see them."""

from collections.abc import Sequence

from service.definitions.reader import ReadArtifact
from service.ids import new_id
from service.lifecycle.run import Artifact


def numbered(found: Sequence[ReadArtifact], now: float) -> tuple[Artifact, ...]:
    """Give results their ids and their places among those of their role."""
    places: dict[str, int] = {}
    artifacts = []
    for each in found:
        index = places.get(each.role, 0)
        places[each.role] = index + 1
        artifacts.append(
            Artifact(
                id=new_id("art", now),
                kind=each.kind,
                role=each.role,
                index=index,
                url=each.url,
                mime=_mime(each),
                seconds=each.seconds,
                upstream_id=each.upstream_id,
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
    "mp3": "audio/mpeg",
    "wav": "audio/wav",
    "glb": "model/gltf-binary",
}


def _mime(artifact: ReadArtifact) -> str | None:
    path = artifact.url.partition("?")[0].partition("#")[0]
    return _MIMES.get(path.rpartition(".")[2].lower())
