"""The group of commands. Each is imported when it is called, so that ``rad69 --help`` answers at once."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import click

from asyncrad69._version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

# What ``rad69 --help`` says about each. A test holds it against the commands themselves.
_COMMANDS: Final[Mapping[str, str]] = {
    "bench": "Find the settings that suit a source, politely.",
    "demo": "Retrieve a demo archive from a simulated source on this machine.",
    "get": "Retrieve instances from a source and write them to files.",
    "manifest": "Show what a manifest in a repository lists.",
    "merge": "Make one job of several, such as shards run apart.",
    "plan": "Plan a job: a bulk retrieve of what tables and manifests list.",
    "probe": "Say layer by layer whether a source can be reached, and what to do.",
    "profile": "Show the profiles that --profile takes.",
    "report": "Write what became of every instance of a job.",
    "run": "Retrieve what is pending in a job, and write it to files.",
    "serve": "Run a simulated source, until Ctrl-C.",
    "status": "Say how far a job is, also while it runs.",
    "verify": "Read a job's files anew, and compare them with their SHA-256.",
}


class Commands(click.Group):
    """Commands by name, each in the module of that name."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"._{cmd_name}", __package__), cmd_name)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """What is wrong with a command's line goes to stderr, where no UID is unless it was asked for."""
        try:
            return super().invoke(ctx)
        except click.NoSuchOption as exc:
            if exc.option_name != "--profile" or exc.ctx is None:
                raise
            message = f"--profile goes before the command: rad69 --profile NAME {exc.ctx.info_name} ..."
            raise click.UsageError(message, ctx=exc.ctx) from exc
        except click.UsageError as exc:
            from ._failures import without_uids  # noqa: PLC0415 - it takes its time, and few need it

            said = exc.format_message()
            shown = said if exc.ctx and exc.ctx.params.get("log_identifiers") else without_uids(said)
            if shown == said:
                raise
            raise click.UsageError(shown, ctx=exc.ctx) from exc

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


_EPILOG: Final = (
    "Exit codes: 0 complete, 2 usage, 3 incomplete, 4 authentication, 5 unreachable, 6 not a RAD-69 answer, "
    "7 storage, 130 interrupted."
)


def _profile_names(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """For the shell, which has no use for complaints about the file."""
    from ._profiles import ProfileError, profile_tables  # noqa: PLC0415 - few need it, and it imports commands

    try:
        return [name for name in profile_tables() if name.startswith(incomplete)]
    except ProfileError:
        return []


@click.group(cls=Commands, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="rad69", message="%(prog)s %(version)s")
@click.option(
    "--profile",
    metavar="NAME",
    envvar="RAD69_PROFILE",
    shell_complete=_profile_names,
    help="Take url and options from this profile.",
)
@click.pass_context
def app(ctx: click.Context, *, profile: str | None) -> None:
    """Retrieve DICOM instances with IHE RAD-69, and prove that all of them came."""
    if profile is not None:
        from ._profiles import profile_of  # noqa: PLC0415 - few need it, and it imports commands

        ctx.default_map = profile_of(profile).default_map()
