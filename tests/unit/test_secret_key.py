"""The instance's secrets: made once whoever makes them, rotated without a moment in which there is none."""

import base64
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

from service.cli import main
from service.errors import SettingsError
from service.secret_key import SecretKeys, drop_old_secret_keys, load_secret_keys, rotate_secret_keys
from service.settings import Secret

ONE, TWO = base64.urlsafe_b64encode(b"1" * 32).decode(), base64.urlsafe_b64encode(b"2" * 32).decode()


def test_the_setting_may_hold_several_keys() -> None:
    """They are separated by commas, blanks do not matter, and the first is current."""
    keys = load_secret_keys(Secret(f"{ONE}, {TWO}"), Path("nowhere"))

    assert keys == SecretKeys(all=(b"1" * 32, b"2" * 32))
    assert keys.current == b"1" * 32


def test_keys_are_never_printed() -> None:
    """Who prints the value sees how many there are."""
    assert repr(SecretKeys(all=(b"1" * 32,))) == "SecretKeys(1)"


@pytest.mark.parametrize("text", [f"{ONE},short", f"{ONE},", f",{ONE}"])
def test_one_weak_key_among_several_is_refused(text: str) -> None:
    """Neither a short key nor a forgotten one passes beside a good one, and no key is repeated."""
    with pytest.raises(SettingsError, match="HALLEY_SECRET_KEY: each key must be") as caught:
        load_secret_keys(Secret(text), Path("nowhere"))

    assert ONE not in str(caught.value)


def test_who_starts_at_the_same_moment_has_the_same_key(tmp_path: Path) -> None:
    """Of many that find no file all read the key that won, and nothing is left beside it."""
    barrier, found = threading.Barrier(16), list[SecretKeys]()

    def start() -> None:
        barrier.wait()
        found.append(load_secret_keys(None, tmp_path))

    threads = [threading.Thread(target=start) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 16
    assert len({keys.all for keys in found}) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["secret.key"]


def test_a_rotation_keeps_the_two_latest(tmp_path: Path) -> None:
    """The new key stands first, the oldest is gone, and the file stays its owner's."""
    made = [load_secret_keys(None, tmp_path).current]
    made += [rotate_secret_keys(tmp_path).current for _ in range(3)]

    assert load_secret_keys(None, tmp_path).all == (made[3], made[2], made[1])
    assert (tmp_path / "secret.key").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["secret.key"]


def test_old_keys_are_dropped_and_the_current_one_stays(tmp_path: Path) -> None:
    """Receivers that took the new secret over are not asked to do so again."""
    load_secret_keys(None, tmp_path)
    current = rotate_secret_keys(tmp_path).current

    assert drop_old_secret_keys(tmp_path).all == (current,)
    assert load_secret_keys(None, tmp_path).all == (current,)


def test_a_damaged_file_is_neither_used_nor_replaced(tmp_path: Path) -> None:
    """Who rotates a file that cannot be read is told so, and the file stays as it is."""
    (tmp_path / "secret.key").write_bytes(b"\xff\n")

    with pytest.raises(SettingsError, match=r"secret\.key"):
        rotate_secret_keys(tmp_path)

    assert (tmp_path / "secret.key").read_bytes() == b"\xff\n"


def test_the_command_rotates_and_tells_when_it_counts(tmp_path: Path) -> None:
    """Signing secrets are printed, the current one alone or all of them; a running Halley is not promised anything."""
    run, environ = CliRunner().invoke, {"HALLEY_DATA_DIR": str(tmp_path), "HALLEY_SECRET_KEY": ""}
    before = run(main, ["keys", "signing-secret"], env=environ).output

    told = run(main, ["keys", "rotate-secret"], env=environ)
    after = run(main, ["keys", "signing-secret"], env=environ).output
    both = run(main, ["keys", "signing-secret", "--all"], env=environ).output
    dropped = run(main, ["keys", "rotate-secret", "--drop-old"], env=environ)
    left = run(main, ["keys", "signing-secret", "--all"], env=environ).output

    assert (told.exit_code, dropped.exit_code) == (0, 0)
    assert "next start" in told.output
    assert before != after
    assert (both, left) == (after + before, after)


def test_a_key_of_the_environment_is_rotated_there(tmp_path: Path) -> None:
    """The command says what to do instead, and makes no file that nobody reads."""
    environ = {"HALLEY_DATA_DIR": str(tmp_path), "HALLEY_SECRET_KEY": ONE}
    told = CliRunner().invoke(main, ["keys", "rotate-secret"], env=environ)

    assert told.exit_code == 1
    assert "HALLEY_SECRET_KEY=NEW,OLD" in told.output
    assert ONE not in told.output
    assert list(tmp_path.iterdir()) == []
