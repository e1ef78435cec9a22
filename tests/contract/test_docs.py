"""The documentation says all there is to say of the definition format, and its samples are true."""

import re
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
import yaml

from service.definitions.catalog import compile_catalog
from service.definitions.format_schema import structs, words
from service.definitions.lint import lint
from service.definitions.loader import load
from service.definitions.media import FORMATS
from service.definitions.schema import ErrorCode, Field

PAGE = (Path(__file__).parents[2] / "docs" / "definitions.md").read_text(encoding="utf-8")
SAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("struct", structs(), ids=lambda struct: struct.__name__)
def test_every_word_of_the_format_is_taught(struct: type) -> None:
    """Each word stands on the page as a word, not only as a part of a sample or a sentence."""
    missing = [word for word in words(struct) if f"`{word}`" not in PAGE]

    assert missing == []


def test_every_error_code_and_file_format_is_named() -> None:
    """Closed lists stand on the page in full."""
    missing = [name for name in (*get_args(ErrorCode), *FORMATS) if f"`{name}`" not in PAGE]

    assert missing == []


def test_the_page_names_no_word_that_is_none() -> None:
    """The first cell of each table row holds words of the format."""
    known = {word for struct in structs() for word in words(struct)}
    cells = re.findall(r"^\| (`[^|]+`) \|", PAGE, re.MULTILINE)
    named = {name for cell in cells for name in re.findall(r"`([a-z_]+)`", cell)}

    assert named - known == set()


def test_the_samples_are_sound(tmp_path: Path) -> None:
    """Provider, operation, dialect and fixtures of the page load and lint without a fault."""
    files = {
        "acme/provider.yaml": _sample("provider:").replace("[acme, relay]", "[acme]"),
        "acme/text_to_video.yaml": _sample("node:"),
        "dialects/acme.yaml": _sample("dialect:") + _sample("errors:"),
        "acme/fixtures/text_to_video.yaml": _sample("- name:"),
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")

    definitions = load([tmp_path], fixtures=True)

    assert lint(definitions) == []
    assert list(compile_catalog(definitions).nodes) == ["acme.text_to_video"]


def test_every_sample_is_yaml() -> None:
    """No sample breaks when it is copied."""
    for sample in SAMPLES:
        list(yaml.safe_load_all(sample.replace("\nwhen:", "\n---\nwhen:")))


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.split(":")[0])
def test_every_sample_says_words_rightly(sample: str) -> None:
    """Each word of a sample has a value that the format takes for it."""
    for part in yaml.safe_load_all(sample.replace("\nwhen:", "\n---\nwhen:")):
        wrong = [word for word, value in part.items() if not _fits(word, value)] if isinstance(part, dict) else []

        assert wrong == []


def _fits(word: str, value: object) -> bool:
    """Tell whether a value is one for a word, in any Struct that has it; inputs may be named as they like."""
    fields = [field for struct in structs() for field in msgspec.structs.fields(struct)]
    kinds = [field.type for field in fields if field.encode_name == word] or [Field]
    return any(_converts(value, kind) for kind in kinds)


def _converts(value: object, kind: Any) -> bool:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return True


def _sample(start: str) -> str:
    found: list[str] = [sample for sample in SAMPLES if sample.startswith(start)]
    return found[0]
