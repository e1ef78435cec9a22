"""Definition files are read, or every fault in them is told with its place."""

from collections.abc import Callable
from pathlib import Path

import pytest

from service.definitions.loader import DefinitionFault, DefinitionFaults, load

Write = Callable[[dict[str, str]], Path]


def faults(folder: Path) -> list[DefinitionFault]:
    """Return the faults that loading a folder tells."""
    with pytest.raises(DefinitionFaults) as caught:
        load([folder], fixtures=True)
    return list(caught.value.faults)


def test_a_folder_is_read(write: Write) -> None:
    """A provider, its operations and the dialects are found by their names."""
    definitions = load([write({})])

    assert list(definitions.providers) == ["acme"]
    assert list(definitions.nodes) == ["acme.draw"]
    assert list(definitions.dialects) == ["acme"]


def test_a_later_folder_replaces_and_adds(write: Write, tmp_path: Path) -> None:
    """A definition of a later folder takes the place of one of the same name."""
    first, second = write({}), tmp_path / "second"
    (second / "acme").mkdir(parents=True)
    text = (first / "acme/draw.yaml").read_text()
    (second / "acme/draw.yaml").write_text(text.replace("title: Draw", "title: Mine"))
    (second / "acme/paint.yaml").write_text(text.replace("acme.draw", "acme.paint"))

    definitions = load([first, second])

    assert definitions.nodes["acme.draw"].value.title == "Mine"
    assert "acme.paint" in definitions.nodes


def test_all_faults_of_all_files_are_told(write: Write) -> None:
    """Every fault comes with file, line, path, code and hint, and none hides another."""
    folder = write(
        {
            "acme/draw.yaml": """\
node: acme.draw
title: Draw
abuot: Draws.
submit: PUT /draw
result: image
inputs:
  prompt: {type: strng, enum: [on, off]}
  size:
    type: integer
    minimum: many
""",
            "dialects/acme.yaml": "+colour: red\n",
        }
    )

    found = {(fault.file.removeprefix(f"{folder}/"), fault.line, fault.path, fault.code) for fault in faults(folder)}

    assert found == {
        ("acme/draw.yaml", 3, "abuot", "unknown_word"),
        ("acme/draw.yaml", 1, "", "missing_word"),
        ("acme/draw.yaml", 4, "submit", "value"),
        ("acme/draw.yaml", 7, "inputs.prompt.type", "value"),
        ("acme/draw.yaml", 7, "inputs.prompt.enum.0", "value"),
        ("acme/draw.yaml", 7, "inputs.prompt.enum.1", "value"),
        ("acme/draw.yaml", 10, "inputs.size.minimum", "value"),
        ("dialects/acme.yaml", 7, "colour", "unknown_word"),
    }


def test_hints_help(write: Write) -> None:
    """A wrong word gets the nearest right one; a word that YAML changed gets told to be quoted."""
    folder = write({"acme/draw.yaml": "+  mode: {type: string, enum: [on, off], requird: true}\n"})

    hints = {fault.path: fault.hint for fault in faults(folder)}

    assert "required" in hints["inputs.mode.requird"]
    assert "quote it" in hints["inputs.mode.enum.0"]


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        ("node: [acme\ntitle: x\n", "yaml", 2),
        ("node: acme.draw\n\ttitle: x\n", "yaml", 2),
        ("", "value", 1),
        ("just a text\n", "value", 1),
        ("- a\n- b\n", "value", 1),
        ("a: &x {b: *x}\n", "unknown_word", 1),
        ("when: 2026-99-99\n", "yaml", 1),
    ],
)
def test_what_is_no_definition(write: Write, text: str, code: str, line: int) -> None:
    """A file that is no YAML, or no mapping, is told as such and stops nothing else."""
    found = faults(write({"acme/draw.yaml": text}))

    assert (code, line) in {(fault.code, fault.line) for fault in found}


def test_text_that_is_not_utf_8(write: Write) -> None:
    """A file in another encoding is a fault like any other."""
    folder = write({})
    (folder / "acme/draw.yaml").write_bytes(b"title: \xff\xfe")

    assert [fault.code for fault in faults(folder)] == ["yaml"]


def test_a_key_that_stands_twice(write: Write) -> None:
    """YAML would silently keep the last of two equal keys."""
    found = faults(write({"acme/draw.yaml": "+  prompt: {required: false}\n"}))

    assert [(fault.path, fault.code) for fault in found] == [("inputs.prompt", "repeated")]


@pytest.mark.parametrize(
    ("wrong", "right"),
    [("acme/other.yaml", "acme/draw.yaml"), ("other/draw.yaml", "acme/draw.yaml")],
)
def test_a_file_has_the_name_of_its_definition(write: Write, wrong: str, right: str) -> None:
    """A copied file that kept its id is told, and does not silently replace the other."""
    folder = write({})
    (folder / wrong).parent.mkdir(exist_ok=True)
    (folder / wrong).write_text((folder / right).read_text())

    found = faults(folder)

    assert [(Path(fault.file).name, fault.code) for fault in found] == [(Path(wrong).name, "name")]
    assert right in found[0].message


def test_a_missing_folder(tmp_path: Path) -> None:
    """A folder of HALLEY_NODES_PATH that does not exist is told."""
    assert [fault.code for fault in faults(tmp_path / "none")] == ["missing"]
