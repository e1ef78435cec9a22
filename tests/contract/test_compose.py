"""compose.yaml and its balancer: what they hold is known to Halley, and nothing that Halley needs is missing."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.api.files import MAX_BODY_BYTES
from service.settings import Secret, _Texts, load_settings

ROOT = Path(__file__).parents[2]
REPLICAS = ("halley-1", "halley-2", "halley-3")
NEEDED = ("HALLEY_DATABASE_URL", "HALLEY_SECRET_KEY", "HALLEY_PUBLIC_URL", "COMETAPI_KEY", "FORWARDED_ALLOW_IPS")
_REFERENCE = re.compile(r"\$\{(\w+)(?:(:\?|:-)([^}]*))?\}")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The parsed file."""
    return dict(yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def balancer() -> str:
    """The balancer's configuration, without comments."""
    text = (ROOT / "docs" / "compose" / "nginx.conf").read_text(encoding="utf-8")
    return re.sub(r"#.*", "", text)


def filled(text: str, environ: dict[str, str]) -> str:
    """Put values in as Compose does; a missing one that is asked for is a KeyError."""

    def value(found: re.Match[str]) -> str:
        name, kind, default = found.groups()
        return environ[name] if kind == ":?" else environ.get(name) or default or ""

    return _REFERENCE.sub(value, text)


def test_three_replicas_share_database_secret_and_artifacts(compose: dict[str, Any]) -> None:
    """The replicas are equal, wait for the database, are given time to stop, and keep their bytes in one place."""
    first, *others = (compose["services"][name] for name in REPLICAS)

    assert others == [first, first]
    assert first["volumes"] == ["data:/data"]
    assert first["depends_on"]["postgres"]["condition"] == "service_healthy"
    assert int(first["stop_grace_period"].removesuffix("s")) > 10
    assert set(NEEDED) <= set(first["environment"])
    assert set(compose["volumes"]) == {"data", "postgres"}
    assert "healthcheck" in compose["services"]["postgres"]


def test_every_setting_is_known_and_those_that_must_be_set_are_asked_for(compose: dict[str, Any]) -> None:
    """No setting is misspelt; Halley takes what the file gives it with the two secrets alone, and needs them both."""
    given = compose["services"][REPLICAS[0]]["environment"]
    named = set(re.findall(r"HALLEY_\w+", (ROOT / "compose.yaml").read_text(encoding="utf-8")))
    secrets = {"POSTGRES_PASSWORD": "p0stgres", "HALLEY_SECRET_KEY": "A" * 43}

    settings = load_settings({name: filled(text, secrets) for name, text in given.items()})

    assert named <= set(_Texts.__struct_fields__)
    assert isinstance(settings.database, Secret)
    assert settings.database.reveal() == "postgresql://halley:p0stgres@postgres:5432/halley"
    assert settings.public_url is None
    for missing in secrets:
        environ = {name: value for name, value in secrets.items() if name != missing}
        with pytest.raises(KeyError, match=missing):
            [filled(text, environ) for text in given.values()]


def test_images_are_pinned(compose: dict[str, Any]) -> None:
    """Foreign images have a version, so that a pull brings no other major one."""
    images = [service["image"] for service in compose["services"].values() if "build" not in service]

    assert len(images) == 2
    assert all(re.fullmatch(r"\w+:\d+(\.\d+)?", image) for image in images)


def test_the_balancer_knows_the_replicas_and_never_sends_a_start_twice(balancer: str) -> None:
    """Each replica is in the pool, the largest upload passes, waits are waited for, and starts are not repeated."""
    (largest_mb,) = re.findall(r"client_max_body_size (\d+)m;", balancer)
    timeouts_s = re.findall(r"proxy_read_timeout (\d+)s;", balancer)

    assert re.findall(r"server (\S+):2061 resolve", balancer) == list(REPLICAS)
    assert int(largest_mb) * 1024 * 1024 > MAX_BODY_BYTES
    assert min(map(int, timeouts_s)) > 25
    assert re.findall(r"proxy_next_upstream ([^;]+);", balancer) == ["error timeout"]
    assert "non_idempotent" not in balancer
