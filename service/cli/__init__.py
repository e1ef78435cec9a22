"""The command `halley`: one module per command or group of commands, loaded when it is called.

A command checks what it was given, calls the floor that does the work and says what came of it. Errors raised
on purpose become one line on standard error and the exit code 1.
"""

import gc
import importlib

import click

from service.errors import HalleyError

_MODULES = {
    "serve": "serve",
    "demo": "demo",
    "simulate": "simulate",
    "check": "check",
    "run": "run",
    "runs": "runs",
    "listen": "listen",
    "nodes": "nodes",
    "keys": "keys",
    "db": "database",
    "export": "export",
}


class _Commands(click.Group):
    """Loads the module of the command that is called, and no other: starting quickly is a promise."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _MODULES:
            return None
        gc.disable()  # modules stay; looking for garbage among them takes a fifth of the time
        try:
            command: click.Command = importlib.import_module(f"service.cli.{_MODULES[cmd_name]}").command
        finally:
            gc.enable()
        return command

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except HalleyError as exc:
            raise click.ClickException(str(exc)) from exc
        except OSError as exc:
            place = f"{exc.filename}: " if exc.filename else ""
            raise click.ClickException(f"{place}{exc.strerror or exc}") from exc


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="halley", message="Halley %(version)s")
def main() -> None:
    """AI generations as workflow steps: start them, follow them, be told of their end."""
