"""What every script's command line shares: grouped help, errors in one sentence, progress on a terminal or in a log."""

import errno
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import click
from tqdm import tqdm

from torch_utils.flags import Option
from torch_utils.ranges import FloatList, SeedList, Size

__all__ = ["Command", "FloatList", "Option", "RefusalError", "SeedList", "Size", "option", "progress", "say"]

Item = TypeVar("Item")
Decorated = TypeVar("Decorated", bound=Callable[..., Any])


class RefusalError(click.ClickException):
    """One sentence for the user, and exit status 2."""

    exit_code = 2


class Command(click.Command):
    """A command with options in groups, an epilog (examples) kept as written, and errors in one sentence.

    ValueError and OSError of the callback end with exit status 2 and no traceback, an interrupt quietly with 130.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["context_settings"] = {
            "help_option_names": ["-h", "--help"],
            "show_default": True,
            "max_content_width": 110,
        } | (kwargs.get("context_settings") or {})
        super().__init__(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise click.exceptions.Exit(130) from None
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise  # whoever read our output has gone: click ends quietly
            raise RefusalError(_told(error)) from error
        except ValueError as error:
            raise RefusalError(str(error)) from error

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                groups.setdefault(getattr(param, "group", "Other"), []).append(record)
        groups["Other"] = groups.pop("Other", [])  # to the end
        for group, records in groups.items():
            if records:
                with formatter.section(group):
                    formatter.write_dl(records)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if self.epilog:
            formatter.write("\n" + self.epilog.strip("\n") + "\n")


def option(*names: str, group: str, **kwargs: Any) -> Callable[[Decorated], Decorated]:
    """`click.option` with the group of the help text it belongs to."""
    return click.option(*names, cls=Option, group=group, **kwargs)


def say(text: str = "") -> None:
    """Prints a line on standard output, above a progress bar if one is being drawn."""
    tqdm.write(text, file=sys.stdout)
    sys.stdout.flush()


def progress(iterable: Iterable[Item], total: int, label: str) -> Iterator[Item]:
    """The items, with a bar on a terminal, or a plain line at each tenth where the output goes to a log.

    Both are written to standard error, which leaves standard output to the results.
    """
    if sys.stderr.isatty():
        yield from tqdm(iterable, total=total, desc=label, dynamic_ncols=True)
        return
    for done, item in enumerate(iterable, start=1):
        yield item
        if done * 10 // max(total, 1) > (done - 1) * 10 // max(total, 1):
            print(f"{label}: {done} of {total}", file=sys.stderr, flush=True)


def _told(error: OSError) -> str:
    """An error of the system in one sentence; one that we raised ourselves speaks for itself."""
    if error.errno is None:
        return str(error)
    place = f" {error.filename}" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"no space left to write{place}: free some, then start again"
    if isinstance(error, FileNotFoundError):
        return f"there is no{place or ' such file'}: check the path"
    if isinstance(error, PermissionError):
        return f"no permission for{place or ' a file'}: choose another path, or change its permissions"
    return f"cannot use{place or ' a file'}: {error.strerror}"
