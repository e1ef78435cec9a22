"""Each rule across words and files finds its fault in a small broken definition, where it stands."""

from collections.abc import Callable
from pathlib import Path

import pytest

from service.definitions.catalog import load_catalog
from service.definitions.lint import lint
from service.definitions.loader import DefinitionFaults, load

Write = Callable[[dict[str, str]], Path]

NODE, PROVIDER, DIALECT = "acme/draw.yaml", "acme/provider.yaml", "dialects/acme.yaml"
HEAD = "node: acme.draw\ntitle: Draw\nabout: Draws.\nresult: image\n"


def codes(folder: Path) -> set[tuple[str, str]]:
    """Return path and code of every fault."""
    return {(fault.path, fault.code) for fault in lint(load([folder], fixtures=True))}


def test_a_sound_family_has_no_fault(write: Write) -> None:
    """What the tests below break is whole."""
    assert codes(write({})) == set()


@pytest.mark.parametrize(
    ("line", "path", "code"),
    [
        ("  x: {like: nothing}", "inputs.x.like", "unknown_field"),
        ("  x: {about: no type}", "inputs.x", "no_type"),
        ("  x:", "inputs.x", "no_type"),
        ("  x: {type: array}", "inputs.x", "no_items"),
        ("  x: {type: array, items: {about: a}}", "inputs.x.items", "no_type"),
        ("  x: {type: object, fields: {y: {about: a}}}", "inputs.x.fields.y", "no_type"),
        ("  x: {type: media}", "inputs.x", "no_media"),
        ("  x: {type: string, max_size: 5MB}", "inputs.x.max_size", "media_word"),
        ("  x: {type: media, media: image, formats: [exe]}", "inputs.x.formats.0", "unknown_format"),
        ("  x: {type: string, enum: []}", "inputs.x.enum", "empty"),
        ("  x: {type: string, suggest: []}", "inputs.x.suggest", "empty"),
        ("  x: {type: string, enum: [a, a]}", "inputs.x.enum", "repeated"),
        ("  x: {type: string, pattern: '('}", "inputs.x.pattern", "pattern"),
        ("  x: {type: string, pattern: '(?P<a>b)(?P=a)'}", "inputs.x.pattern", "pattern"),
        ("  x: {type: string, pattern: '\\p{L}'}", "inputs.x.pattern", "pattern"),
        ("  x: {type: string, enum: [a], default: b}", "inputs.x.default", "value"),
        ("  x: {type: integer, maximum: 5, assumed: 6}", "inputs.x.assumed", "value"),
        ("  x: {type: integer, example: many}", "inputs.x.example", "value"),
        ("  x: {type: string, enum: ['on'], default: on}", "inputs.x.default", "boolean"),
        ("  x: {type: string, required: true, default: a}", "inputs.x", "required_default"),
        ("  x: {type: string, default_when: {prompt: a}}", "inputs.x.default_when", "no_default"),
        ("  x: {type: string, default: a, default_when: {y: a}}", "inputs.x.default_when", "unknown_input"),
        ("  x: {type: integer, minimum: 2, maximum: 1}", "inputs.x", "limits"),
        ("  notify: {type: string}", "inputs.notify", "reserved"),
        (
            "  x: {type: object, fields: {y: {type: string}}, rules: [{require: [z]}]}",
            "inputs.x.rules.0.require",
            "unknown_input",
        ),
    ],
)
def test_inputs(write: Write, line: str, path: str, code: str) -> None:
    """A wrong input is told at its word."""
    assert (path, code) in codes(write({NODE: f"+{line}\n"}))


@pytest.mark.parametrize(
    ("rest", "path", "code"),
    [
        ("rules: [{exactly_one: [a, c]}]", "rules.0.exactly_one", "unknown_input"),
        ("rules: [{at_most_one: [a, [b, c]]}]", "rules.0.at_most_one", "unknown_input"),
        ("rules: [{require: [a], forbid: [b]}]", "rules.0", "rule"),
        ("rules: [{because: x}]", "rules.0", "rule"),
        ("rules: [{exactly_one: [a, b], when: {a: x}}]", "rules.0.when", "rule"),
        ("rules: [{require: [a], when: {c: x}}]", "rules.0.when", "unknown_input"),
        ("rules: [{require: [b], when: {a: z}}]", "rules.0.when.a", "never"),
        ("rules: [{require: [b], when: {a: {any_of: [x, z]}}}]", "rules.0.when.a", "never"),
        ("rules: [{require: [b], when: {a: on}}]", "rules.0.when.a", "never"),
        ("warn: [{when: {c: x}, say: Hm.}]", "warn.0.when", "unknown_input"),
        ("warn: [{when: {a: z}, say: Hm.}]", "warn.0.when.a", "never"),
        ("replaced_by: acme.none", "replaced_by", "unknown_node"),
        ("answers: [acme, none]", "answers.1", "unknown_dialect"),
        ("example: {a: z}", "example", "example"),
        ("rules: [{at_least_one: [a, b]}]", "example", "example"),
        ("query: GET /draw/{id}", "query", "slot"),
        ("query: GET /draw", "query", "slot"),
        ("reads: {id: ['a[']}", "reads.id.0", "path"),
        ("reads: {data: {x: 'a b'}}", "reads.data.x.0", "path"),
        ("reads: {artifacts: [{kind: image, each: files, url: 'a['}]}", "reads.artifacts.0", "path"),
        ("reads: {verdict: [{at: 'a[0]', accepted: [0]}]}", "reads.verdict.0.at", "path"),
        (
            "reads: {state: {words: {queued: [x], running: [' X ']}}}",
            "reads.state.words.running.0",
            "two_states",
        ),
    ],
)
def test_nodes(write: Write, rest: str, path: str, code: str) -> None:
    """What a node says across its words is told where it says it."""
    inputs = "submit: POST /draw\ninputs: {a: {type: string, enum: [x, y]}, b: {type: string}}\n"

    assert (path, code) in codes(write({NODE: f"{HEAD}{inputs}{rest}\n"}))


@pytest.mark.parametrize(
    ("submit", "inputs", "path"),
    [
        ("POST /draw/{x}", "{}", "submit"),
        ("POST /draw/{x}", "{x: {type: string}}", "inputs.x"),
        ("POST /draw/{x}", "{x: {type: string, default: a, default_when: {x: a}}}", "inputs.x"),
        ("POST /draw/{+x}", "{x: {type: string, required: true}}", "inputs.x"),
    ],
)
def test_slots_of_the_path(write: Write, submit: str, inputs: str, path: str) -> None:
    """A slot is an input that is always there; one that may hold slashes is closed."""
    folder = write({NODE: f"{HEAD}submit: {submit}\ninputs: {inputs}\nexample: {{x: a}}\n"})

    assert (path, "slot") in codes(folder)


@pytest.mark.parametrize("closed", ["enum: [a/b]", "pattern: '^[a-z]+(/[a-z]+)?$'"])
def test_a_closed_slot_may_hold_slashes(write: Write, closed: str) -> None:
    """An enum or a pattern makes a slot with slashes safe."""
    inputs = f"inputs: {{x: {{type: string, required: true, {closed}, example: a/b}}}}"

    assert codes(write({NODE: f"{HEAD}submit: POST /{{+x}}\n{inputs}\n"})) == set()


@pytest.mark.parametrize(
    ("old", "new", "path", "code"),
    [
        ("answers: [acme]", "answers: [none]", "answers.0", "unknown_dialect"),
        ("query: GET {path}/{task_id}", "query: GET {path}/{prompt}", "query", "slot"),
        ("callback:", "external_id: {field: x, query: GET /a}\ncallback:", "external_id.query", "slot"),
        ("fields:", "warn: [{when: {none: a}, say: Hm.}]\nfields:", "warn.0.when", "unknown_input"),
        ("fields:", "warn: [{when: {prompt: on}, say: Hm.}]\nfields:", "warn.0.when.prompt", "never"),
        ("max_length: 100", "max_length: 3", "fields.prompt.example", "value"),
    ],
)
def test_providers(write: Write, old: str, new: str, path: str, code: str) -> None:
    """What a provider says wrong is told in its file."""
    folder = write({})
    text = (folder / PROVIDER).read_text()
    (folder / PROVIDER).write_text(text.replace(old, new))

    assert (path, code) in codes(folder)


def test_a_task_without_a_query(write: Write) -> None:
    """A task that nobody can ask about is no task."""
    folder = write({})
    text = (folder / PROVIDER).read_text()
    (folder / PROVIDER).write_text(text.replace("query: GET {path}/{task_id}\n", ""))

    assert ("", "no_query") in codes(folder)


def test_a_node_without_a_provider(write: Write) -> None:
    """A node of a family that has no provider file is told."""
    folder = write({"other/draw.yaml": f"{HEAD.replace('acme', 'other')}submit: POST /draw\n"})

    assert ("node", "unknown_provider") in codes(folder)


def test_fixtures_belong_to_a_node(write: Write) -> None:
    """A fixture file is of a node or of the family, and names each case once."""
    case = "- {name: a, as: poll, body: {}, reads: {}}\n"
    folder = write(
        {
            "acme/fixtures/none.yaml": case,
            "acme/fixtures/family.yaml": case,
            "acme/fixtures/draw.yaml": case + case,
        }
    )

    assert codes(folder) == {("", "unknown_node"), ("1.name", "repeated")}


def test_faults_stand_on_their_line(write: Write) -> None:
    """Several faults of several files come at once, each with its file and line."""
    folder = write({NODE: "+  x: {like: none}\n", DIALECT: "+text: ['a[']\n"})

    found = [(Path(fault.file).name, fault.line) for fault in lint(load([folder]))]

    assert found == [("draw.yaml", 8), ("acme.yaml", 7)]


def test_a_catalogue_is_never_made_of_faulty_definitions(write: Write) -> None:
    """Starting with wrong definitions tells every fault of them."""
    folder = write({NODE: "+  x: {like: none}\n  y: {like: none}\n"})

    with pytest.raises(DefinitionFaults) as caught:
        load_catalog([folder])

    assert len(caught.value.faults) == 2
    assert all("draw.yaml:" in line for line in str(caught.value).splitlines())
