"""Wrong usage of the command line, said in one line: what is wrong, which value, and what to do."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from experiments.errors import SettingsError

# Newer versions of typer bring their own copy of click; this is the base of its errors or of click's, as the case is.
UsageError: Any = typer.BadParameter.__base__


class CommandGroup(TyperGroup):
    """A group of commands, numbers in order, that says which commands there are when asked for another."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names of the commands, in the order of the help."""
        names = list(self.commands)
        return sorted(names, key=int) if all(name.isdecimal() for name in names) else names

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Find the command that the arguments name. Raises SettingsError if there is none of this name."""
        # What begins with a dash is an option that stands before the command: the parser has its own words for that.
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            *others, last = self.list_commands(ctx)
            known = f"{', '.join(others)} or {last}" if others else last
            asked = " ".join([*ctx.command_path.split()[1:], args[0]])
            raise SettingsError(f"there is no command {asked!r}: choose {known}")
        return super().resolve_command(ctx, args)


def usage_line(error: Any) -> str:
    """An error of the parser, a `UsageError`, as one line."""
    if isinstance(error, typer.BadParameter) and error.param is None and error.param_hint is None:
        return " ".join(error.message.split())  # raised by a command, and complete
    # What was typed is known to the validation that typer does, and not to its message.
    if error.__cause__ is not None and error.param is not None and hasattr(error.__cause__, "errors"):
        found = error.__cause__.errors()[0]
        text = f"invalid value {found['input']!r} for {error.param.opts[0]}: {found['msg']}"
    else:
        text = " ".join(error.format_message().split()).rstrip(".")
        text = text[:1].lower() + text[1:]
    return text if error.ctx is None else f"{text}; see {error.ctx.command_path} --help"


def is_given(context: typer.Context, name: str) -> bool:
    """Whether the user has set this parameter, whatever the value."""
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"


def refuse_without_effect(context: typer.Context, names: list[str], reason: str) -> None:
    """Refuse options that the user has set, but that would change nothing, for this `reason`.

    `names` are those of the command's parameters. Raises typer.BadParameter.
    """
    flags = {parameter.name: parameter.opts[0] for parameter in context.command.params}
    if given := [flags[name] for name in names if is_given(context, name)]:
        verb = "has" if len(given) == 1 else "have"
        raise typer.BadParameter(f"{' and '.join(given)} {verb} no effect {reason}")
