"""Settings: every one is checked, a wrong one is named in one line, secrets do not print."""

from pathlib import Path

import pytest

from service.errors import SettingsError
from service.secret_key import load_secret_keys
from service.settings import Secret, _Texts, load_settings

DOCS = Path(__file__).parents[2] / "docs" / "operations.md"


def test_an_empty_environment_is_enough() -> None:
    """Every setting has a default; without an upstream key Halley starts all the same."""
    settings = load_settings({})

    assert (settings.host, settings.port) == ("127.0.0.1", 2061)
    assert settings.upstream_url == "https://api.cometapi.com"
    assert settings.upstream_key is None
    assert settings.database == Path(".halley/halley.db")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HALLEY_PORT", "many"),
        ("HALLEY_PORT", "70000"),
        ("HALLEY_WORKERS", "0"),
        ("HALLEY_LOG", "loud"),
        ("HALLEY_PUBLIC_URL", "halley.example.com"),
        ("HALLEY_UPSTREAM_URL", "ftp://example.com"),
        ("HALLEY_DATABASE_URL", "mysql://x"),
        ("HALLEY_EGRESS_ALLOW", "10.0.0.0/99"),
        ("HALLEY_NODES_PATH", "/nowhere/at/all"),
    ],
)
def test_a_wrong_setting_is_named_in_one_line(name: str, value: str) -> None:
    """The message starts with the setting's name and fits a line."""
    with pytest.raises(SettingsError) as caught:
        load_settings({name: value})

    assert str(caught.value).startswith(f"{name}:")
    assert "\n" not in str(caught.value)


def test_base_urls_may_end_as_users_write_them() -> None:
    """A trailing slash and a trailing /v1 of the upstream URL do no harm."""
    settings = load_settings(
        {"HALLEY_UPSTREAM_URL": "https://x.example/v1/", "HALLEY_PUBLIC_URL": "https://y.example/"}
    )

    assert (settings.upstream_url, settings.public_url) == ("https://x.example", "https://y.example")


@pytest.mark.parametrize("name", ["COMETAPI_KEY", "COMETAPI_API_KEY", "COMET_API_KEY"])
def test_the_key_is_found_under_each_name_in_use(name: str) -> None:
    """Other tools' names for the upstream key are understood; the key never prints."""
    settings = load_settings({name: " sk-secret "})

    assert settings.upstream_key is not None
    assert settings.upstream_key.reveal() == "sk-secret"
    assert "sk-secret" not in repr(settings)


def test_every_setting_is_documented() -> None:
    """The operations page names each setting."""
    page = DOCS.read_text(encoding="utf-8")

    assert [name for name in (*_Texts.__struct_fields__, "COMETAPI_KEY") if f"`{name}`" not in page] == []


def test_the_secret_key_is_made_once_and_kept_private(tmp_path: Path) -> None:
    """The first start makes a key file that only its owner may read; later starts use it."""
    first = load_secret_keys(None, tmp_path)

    assert load_secret_keys(None, tmp_path) == first
    assert len(first.current) == 32
    assert (tmp_path / "secret.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["short", "%%%%", ""])
def test_a_weak_secret_key_is_refused(tmp_path: Path, text: str) -> None:
    """A key that is too short to be safe is named."""
    with pytest.raises(SettingsError, match="HALLEY_SECRET_KEY"):
        load_secret_keys(Secret(text), tmp_path)
