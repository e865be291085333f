"""What every script's command line shares: grouped help, errors in one sentence, progress on a terminal or in a log."""

import difflib
import errno
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import click
from tqdm import tqdm

from system import start
from torch_utils import launch, mistakes, notices, terminal
from torch_utils.distributed import EndedError, LostError
from torch_utils.flags import Option
from torch_utils.paths import expand_home
from torch_utils.ranges import FloatList, Number, SeedList, Size

__all__ = [
    "Command",
    "FloatList",
    "Group",
    "Number",
    "Option",
    "RefusalError",
    "SeedList",
    "Size",
    "above_bars",
    "counted",
    "option",
    "progress",
    "say",
    "terminable",
]

QUIET_BELOW = 100  # items: so few pass without lines of progress in a log

Item = TypeVar("Item")
Decorated = TypeVar("Decorated", bound=Callable[..., Any])


class RefusalError(click.ClickException):
    """One sentence for the user, and exit status 2."""

    exit_code = 2

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(terminal.shown(message).splitlines()))


class Command(click.Command):
    """A command with options in groups, an epilog (examples) kept as written, and errors in one sentence.

    ValueError and OSError of the callback end with exit status 2 and no traceback, an interrupt quietly with 130.
    Of several processes only rank 0 writes to standard output. When processes fail, only the one that failed first
    prints its error. What cannot be printed does not stop the work. A `~` at the beginning of a path is expanded.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["context_settings"] = {
            "help_option_names": ["-h", "--help"],
            "show_default": True,
            "max_content_width": 110,
            "token_normalize_func": lambda text: text.replace("_", "-").lower(),  # of options and choices
        } | (kwargs.get("context_settings") or {})
        super().__init__(*args, **kwargs)

    def main(self, *args: Any, **extra: Any) -> Any:
        if not extra.get("standalone_mode", True):
            return super().main(*args, **extra)
        launch.follow()
        if not notices.together():
            with terminal.steady():
                return super().main(*args, **extra)
        with terminal.steady(notices.number()):
            try:
                status = super().main(*args, **extra | {"standalone_mode": False})
            except Exception as error:
                # At once: others may wait for an answer, and what is left of the group would be waited for at a proper
                # end.
                os._exit(_tell(error))
            sys.exit(status if isinstance(status, int) else 0)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        # Before any conversion: an empty text would become the path of the current folder.
        args = list(map(expand_home, args))
        if not ctx.resilient_parsing:
            self._explain_mistakes(ctx, args)
        return super().parse_args(ctx, args)

    def _explain_mistakes(self, ctx: click.Context, args: list[str]) -> None:
        try:
            given, stray, _ = self.make_parser(ctx).parse_args(list(args))
        except click.NoSuchOption as error:
            if instead := mistakes.replacement(self, error.option_name):
                raise click.UsageError(f"No such option {error.option_name!r}: use {instead}.", ctx) from None
            raise
        for param in self.params:
            value, is_path = given.get(param.name or ""), isinstance(param.type, click.Path)
            if swallowed := mistakes.swallowed(self, [value]):
                raise click.UsageError(f"{param.opts[0]} needs a value, and {swallowed} follows it", ctx)
            if value == "" and (is_path or getattr(param, "metavar", None) == "TEXT"):
                mend = "name a file or folder" + ("" if param.required else ", or leave it out")
                raise click.UsageError(f"{param.opts[0]} is empty: {mend}", ctx)
        if stray:
            raise click.UsageError(mistakes.stray(self, args, stray[0]), ctx)

    def invoke(self, ctx: click.Context) -> Any:
        start.begin()
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


class Group(click.Group):
    """Several commands under one name, of which `default` is meant when the first argument names none."""

    def __init__(self, *args: Any, default: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.default = default

    def main(self, *args: Any, **extra: Any) -> Any:
        if not extra.get("standalone_mode", True):
            return super().main(*args, **extra)
        with terminal.steady():
            return super().main(*args, **extra)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or not (args[0] in self.commands or self._misspelled(args[0])):
            args = [self.default, *args]
        return super().parse_args(ctx, args)

    def _misspelled(self, word: str) -> bool:
        """Whether a word is meant for a command, rather than for an argument of the default one."""
        return not Path(word).exists() and bool(difflib.get_close_matches(word, self.commands))


def _tell(error: Exception) -> int:
    """Tells of the error that ended a process of several, unless another failed before; returns the exit status."""
    refusal = error if isinstance(error, click.ClickException) else None
    first = notices.first_error(error if refusal is None else ValueError(refusal.format_message()))
    if first.process != notices.number():
        return first.status
    where = terminal.bare(sys.stderr)
    if refusal is not None:
        terminal.put(f"Error: {refusal.format_message()}\n", where)
    elif not isinstance(error, LostError):
        terminal.put(f"process {first.process} failed:\n{''.join(traceback.format_exception(error))}", where)
    elif not (isinstance(error, EndedError) and launch.started_here()):  # which tells which process was killed
        terminal.put(f"Error: {error}\n", where)
    return first.status


def option(*names: str, group: str, **kwargs: Any) -> Callable[[Decorated], Decorated]:
    """`click.option` with the group of the help text it belongs to."""
    return click.option(*names, cls=Option, group=group, **kwargs)


def say(text: str = "") -> None:
    """Print a line on standard output, above a progress bar if one is being drawn.

    Control characters are spelled out. Output that is closed or full is passed over.
    """
    with above_bars():
        terminal.put(f"{text}\n", sys.stdout)


@contextmanager
def above_bars() -> Iterator[None]:
    """Within the block progress bars are taken off the terminal, so that lines are written above them."""
    if not terminal.is_terminal(sys.stderr):
        yield
        return
    with tqdm.external_write_mode(file=sys.stdout):
        yield


def counted(number: int, thing: str) -> str:
    """`1 picture`, `2 pictures`."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


@contextmanager
def terminable() -> Iterator[None]:
    """Within the block SIGTERM ends the program as an interrupt does: what is half made is removed on the way out."""
    before = signal.signal(signal.SIGTERM, _leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def progress(iterable: Iterable[Item], total: int, label: str, note: Callable[[], str] = lambda: "") -> Iterator[Item]:
    """The items, with a bar on a terminal, or a plain line at each tenth where the output goes to a log.

    A log gets no lines about fewer than 100 items. `note` says after each item what stands behind the bar or line.

    Both are written to standard error, which leaves standard output to the results.
    """
    if terminal.is_terminal(sys.stderr):
        bar = tqdm(iterable, total=total, desc=terminal.shown(label), dynamic_ncols=True)
        for item in bar:
            yield item
            bar.set_postfix_str(terminal.shown(note()), refresh=False)
        return
    if notices.together() and notices.number():
        yield from iterable
        return
    for done, item in enumerate(iterable, start=1):
        yield item
        if total >= QUIET_BELOW and done * 10 // total > (done - 1) * 10 // total:
            line = ", ".join(filter(None, [f"{label}: {done} of {total}", note()]))
            terminal.put(f"{line}\n", sys.stderr)


_REASONS = {
    errno.EEXIST: "is there already and is not a folder",
    errno.ENOTDIR: "cannot be there, for what should be a folder in its path is a file",
    errno.EISDIR: "is a folder where a file is wanted",
    errno.EROFS: "lies on a disk that is read-only",
    errno.ENAMETOOLONG: "has too long a name",
}


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
    reason = _REASONS.get(error.errno, f"cannot be used ({error.strerror})")
    return f"{place.strip() or 'a file'} {reason}: choose another path"
