"""Results that came as bytes: kept under the ids that the run's artifacts will have."""

from collections.abc import Sequence

import msgspec

from service.artifacts.files import FILE_LIMIT_BYTES
from service.artifacts.vault import Vault
from service.definitions.results import ReadArtifact
from service.lifecycle.artifacts import artifact_id


async def kept_results(found: Sequence[ReadArtifact], run_id: str, vault: Vault) -> tuple[ReadArtifact, ...]:
    """Keep the bytes that stand in results, and return the results without them.

    Doing it again for the same run is harmless, so it may come before the change that tells of the results.

    Args:
        found: All results of the run, in order.
        run_id: The run.
        vault: Where the bytes go.

    Raises:
        StoreError: They could not be written.
    """
    return tuple([await _kept(each, artifact_id(run_id, place), vault) for place, each in enumerate(found)])


async def _kept(artifact: ReadArtifact, name: str, vault: Vault) -> ReadArtifact:
    if artifact.content is None:
        return artifact
    kept = await vault.keep(name, artifact.content, limit_bytes=FILE_LIMIT_BYTES)
    is_told = kept.mime not in ("application/octet-stream", "text/plain")
    return msgspec.structs.replace(
        artifact,
        content=None,
        mime=kept.mime if is_told else artifact.mime or kept.mime,
        size_bytes=kept.size_bytes,
    )
