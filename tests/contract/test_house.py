"""The house as a whole: what its parts may not know, and what must be in the box."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
EVERYDAY_WORDS = {"text", "images", "audio", "platform"}  # families named after what they make


def test_no_provider_is_named_in_the_engine() -> None:
    """What is special about a provider is said in its definitions; the engine knows none by name."""
    names = [folder.name for folder in (ROOT / "nodes").iterdir() if (folder / "provider.yaml").exists()]
    pattern = re.compile(rf"\b({'|'.join(set(names) - EVERYDAY_WORDS)})", re.IGNORECASE)

    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in (ROOT / "service").rglob("*")
        if path.suffix in (".py", ".sql") and "simulator" not in path.parts
        for line in path.read_text().splitlines()
        if pattern.search(line)
    ]
    assert names
    assert found == []


def test_the_wheel_holds_everything_that_is_read_at_run_time(tmp_path: Path) -> None:
    """Definitions, SQL, migrations and the simulator's media are in the wheel that the image installs."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)  # noqa: S603 - our own build
    (wheel,) = tmp_path.glob("*.whl")

    packed = set(zipfile.ZipFile(wheel).namelist())
    needed = {
        str(path.relative_to(ROOT))
        for folder in ("nodes", "service")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert needed <= packed
