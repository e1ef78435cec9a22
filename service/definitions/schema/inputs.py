"""What a user gives: fields, conditions, and requirements across fields."""

from typing import Any, Literal

from msgspec import UNSET

from service.definitions.schema.words import Size, Transport, Word


class Match(Word, frozen=True, kw_only=True):
    """What an input must be for a `when` to hold; all words must hold. Not given, it counts as its default.

    Attributes:
        given: The user gave it (`true`) or not (`false`), whatever its default.
        any_of: It is one of these values.
        like: It is like this: `*` stands for any characters, `|` between alternatives.
        unlike: It is given or has a default, and is not like this.
        longer_than: It is a text of more characters, or a list of more elements.
        shorter_than: It is a text of fewer characters, or a list of fewer elements.
    """

    given: bool | None = None
    any_of: list[str | int | float | bool] | None = None
    like: str | None = None
    unlike: str | None = None
    longer_than: int | None = None
    shorter_than: int | None = None


Condition = dict[str, str | int | float | bool | Match]


class Rule(Word, frozen=True, kw_only=True):
    """A requirement across the inputs of one object. Exactly one of the first five words.

    Attributes:
        exactly_one: One of these inputs must be given, and only one.
        at_least_one: One or more of these must be given.
        at_most_one: No two of these may be given together; an inner list counts as one.
        require: These must be given (when `when` holds).
        forbid: These must not be given (when `when` holds).
        exactly_one_nonzero: One of these numbers must be other than zero, the rest zero or absent.
        when: Makes `require` and `forbid` conditional.
        because: Said to the user when the rule is broken.
    """

    exactly_one: list[str] | None = None
    at_least_one: list[str] | None = None
    at_most_one: list[str | list[str]] | None = None
    require: list[str] | None = None
    forbid: list[str] | None = None
    exactly_one_nonzero: list[str] | None = None
    when: Condition | None = None
    because: str | None = None


class Advice(Word, frozen=True, kw_only=True):
    """Something the user should know although the input is let through.

    Attributes:
        when: Inputs for which it is said.
        say: The sentence.
    """

    when: Condition
    say: str


class Field(Word, frozen=True, kw_only=True):
    """One input. It starts from the provider's field of the same name or of the one in `like`; its words win.

    An entry with a `type` and no `like` starts afresh. An empty entry takes the provider's field as it is.

    Attributes:
        like: Name of the provider's field to start from; the words given here win.
        type: JSON type; `any` for whatever upstream understands; `media` for a file in any form a user may have it.
        title: Short label for forms.
        about: One sentence for people.
        example: A value shown in the documentation.
        unit: Unit of a number, such as `s`.
        required: Must be given.
        default: Sent upstream when the user gives nothing.
        default_when: The default is sent only when this holds.
        assumed: What upstream uses when nothing is sent; for documentation and conditions.
        enum: The only values allowed.
        suggest: Known values of an open list.
        minimum: Smallest number.
        maximum: Largest number.
        min_length: Shortest text.
        max_length: Longest text.
        pattern: Regular expression the text must match.
        items: What the elements of an array are.
        min_items: Fewest elements.
        max_items: Most elements.
        fields: The members of an object; an object without them takes any.
        rules: Requirements across the members of an object.
        media: Kind of a media input.
        send: Forms that upstream takes, best first; `file` is a part of a multipart body. Halley makes them of what
            the user gives.
        max_size: Largest file.
        formats: File formats that upstream takes, as file extensions.
        min_side: Least width and height in pixels.
        max_ratio: Longest side over shortest side at most.
        place: Where it goes; slots of the path are found by name. Default: body of a POST, query of a GET.
        to: Name or dotted path in the request, when other than the input's name; several send it each time. A number
            is a place in a list, `+` appends to one (each element of a list by itself).
        convert: Sent as this type; `json` is JSON written as text.
        values: Values that are sent as others; one that stands for null is not sent.
        wrap: What the value (of a list, each element) is sent inside: `@` stands for it, `@mime` for the media type of
            a file, `@name` for another input, whose key goes when it is not given.
        local: Used by Halley alone and never sent, such as what another word refers to.
        advanced: Not shown in simple forms.
    """

    like: str | None = None
    type: Literal["string", "integer", "number", "boolean", "array", "object", "media", "any"] | None = None
    title: str | None = None
    about: str | None = None
    example: Any = UNSET
    unit: str | None = None
    required: bool | None = None
    default: Any = UNSET
    default_when: Condition | None = None
    assumed: Any = UNSET
    enum: list[str | int | float] | None = None
    suggest: list[str] | None = None
    minimum: int | float | None = None
    maximum: int | float | None = None
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None
    items: "Field | None" = None
    min_items: int | None = None
    max_items: int | None = None
    fields: "dict[str, Field | None] | None" = None
    rules: list[Rule] | None = None
    media: Literal["image", "video", "audio", "file"] | None = None
    send: list[Transport] | None = None
    max_size: Size | None = None
    formats: list[str] | None = None
    min_side: int | None = None
    max_ratio: float | None = None
    place: Literal["body", "query", "header"] | None = None
    to: str | list[str] | None = None
    convert: Literal["string", "number", "json"] | None = None
    values: dict[str, Any] | None = None
    wrap: Any = UNSET
    local: bool | None = None
    advanced: bool | None = None
