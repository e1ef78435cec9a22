"""What is written for people, on a terminal and elsewhere."""

import io

from service.terminal import watching


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


def test_elsewhere_each_change_is_one_line() -> None:
    """A state that is told again gives no second line, and nothing but text is written."""
    stream = io.StringIO()

    with watching(stream) as watch:
        watch.show("a.b", "running", None)
        watch.show("a.b", "running", None)
        watch.show("a.b", "running", 0.5)

    told = [line.partition(" s  ")[2] for line in stream.getvalue().splitlines()]
    assert told == ["a.b  running", "a.b  running 50 %"]


def test_a_terminal_shows_bars_and_takes_no_text_for_markup() -> None:
    """Brackets of users stay as they are."""
    stream = Terminal()

    with watching(stream) as watch:
        watch.show("a.b [bold]", "succeeded", 1.0)

    assert "a.b [bold]" in stream.getvalue()
    assert "succeeded 100 %" in stream.getvalue()
