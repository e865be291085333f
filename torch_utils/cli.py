"""Commands with grouped help, one-sentence errors and progress bars; options that several scripts share."""

import copy
import difflib
import errno
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import click
from tqdm import tqdm

from system import start
from torch_utils import distributed, launch, terminal
from torch_utils.flags import SYNONYMS, spellings
from torch_utils.flags import FloatList as FloatList
from torch_utils.flags import Mixture as Mixture
from torch_utils.flags import Number as Number
from torch_utils.flags import Option as Option
from torch_utils.flags import SeedList as SeedList
from torch_utils.flags import Size as Size

QUIET_BELOW = 100  # items: shorter loops write no progress to a log

Item = TypeVar("Item")
Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def option(*names: str, group: str, **kwargs: Any) -> Callable[[Decorated], Decorated]:
    """Return `click.option` for an option in a group of the help text."""
    return click.option(*names, cls=Option, group=group, **kwargs)


SET = option(
    "--set",
    "sets",
    multiple=True,
    metavar="NAME=VALUE",
    group="Training",
    help="any other setting of the table that --dry-run prints, such as pace.sheet=16",
)


class RefusalError(click.ClickException):
    """An error of one sentence for the user, with exit status 2."""

    exit_code = 2

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(terminal.clean(message).splitlines()))


class More(NamedTuple):
    """What a command learns from its first options."""

    subject: str  # the model or network in question, for errors: "dit-s/2", "faces64.safetensors, a StyleGAN2"
    options: Sequence[Option]  # further options of the command
    others: Mapping[str, Sequence[Option]] = {}  # titles of other models -> their options
    found: Any = None  # handed to the callback as `click.get_current_context().obj`
    note: str = ""  # a sentence at the end of --help


class Command(click.Command):
    """A command with options in groups, an epilog (examples) that keeps its line breaks, and one-sentence errors.

    ValueError, OSError and MemoryError end it with exit status 2 and no traceback, Ctrl-C quietly with 130. With
    several processes only rank 0 writes to standard output, and only the first to fail prints its error. A `~` at the
    beginning of a path is expanded. Options and choices may be typed in upper case and with `_` for `-`.

    `more` makes options that depend on others: on the model that is trained, or the network that is opened. It takes
    the values of the command's own options by parameter name, None for those that are missing or wrong, and "help",
    whether --help is given. It may raise ValueError or OSError. Examples with options of other models are left out.
    """

    def __init__(self, *args: Any, more: Callable[[Mapping[str, Any]], More] | None = None, **kwargs: Any) -> None:
        self.more, self.learned = more, More("", [])
        kwargs["context_settings"] = {
            "help_option_names": ["-h", "--help"],
            "show_default": True,
            "max_content_width": 110,
            "token_normalize_func": lambda text: text.replace("_", "-").lower(),
        } | (kwargs.get("context_settings") or {})
        super().__init__(*args, **kwargs)

    def main(self, *args: Any, **extra: Any) -> Any:
        launch.follow()
        several, rank = launch.together(), launch.number()
        with terminal.steady(rank if several else 0):
            if not several:
                return super().main(*args, **extra)
            try:
                status = super().main(*args, **extra | {"standalone_mode": False})
            except Exception as error:
                # At once: a normal exit would wait for the process group, while other processes wait for an answer.
                os._exit(_report(error))
            sys.exit(status if isinstance(status, int) else 0)

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        if self.more is None:
            return super().make_context(info_name, args, parent, **extra)
        lenient = extra | {"resilient_parsing": True, "ignore_unknown_options": True, "allow_extra_args": True}
        early = super().make_context(info_name, list(args), parent, **lenient)
        try:
            more = self.more(early.params | {"help": not {"-h", "--help"}.isdisjoint(args)})
        except (OSError, ValueError) as error:
            raise _refused(error) from error
        full = copy.copy(self)  # `self` is used again, by tests
        full.params, full.learned = [*self.params, *more.options], more
        lines = (self.epilog or "").splitlines()
        foreign = {name for options in more.others.values() for name in spellings(options)} - {*spellings(full.params)}
        examples = "\n".join(line for line in lines if foreign.isdisjoint(line.split()))
        full.epilog = "\n".join(filter(None, [examples, more.note]))
        return super(Command, full).make_context(info_name, args, parent, **{"obj": more.found} | extra)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        args = list(map(expand_home, args))
        if any("\udc80" <= letter <= "\udcff" for letter in "".join(args)):
            raise click.UsageError("names of files and folders must be UTF-8: rename them", ctx)
        if not ctx.resilient_parsing:
            self._explain_mistakes(ctx, args)
        return super().parse_args(ctx, args)

    def _explain_mistakes(self, ctx: click.Context, args: list[str]) -> None:
        try:
            given, stray, _ = self.make_parser(ctx).parse_args(list(args))
        except click.NoSuchOption as error:
            name = error.option_name
            if owners := [title for title, options in self.learned.others.items() if name in spellings(options)]:
                told = f"{name} does not apply to {self.learned.subject}, only to {' and '.join(owners)}: leave it out"
                raise click.UsageError(told, ctx) from None
            plain, known = name.lstrip("-").replace("_", "-").lower(), spellings(self.params)
            offers = " ".join(offers for words, offers in SYNONYMS.items() if plain in words.split())
            if offer := next((offer for offer in offers.split() if offer in known), ""):
                raise click.UsageError(f"No such option '{name}': use {offer}.", ctx) from None
            raise
        for param in self.params:
            value, is_path = given.get(param.name or ""), isinstance(param.type, click.Path)
            if isinstance(value, str) and value.startswith("--") and value in spellings(self.params):
                raise click.UsageError(f"{param.opts[0]} needs a value, and {value} follows it", ctx)
            if value == "" and (is_path or getattr(param, "metavar", None) == "TEXT"):  # "" would be the current folder
                mend = "name a file or folder" + ("" if param.required else ", or leave it out")
                raise click.UsageError(f"{param.opts[0]} is empty: {mend}", ctx)
        if stray:
            told = "options begin with --; join several values with commas (1,2,3), and put quotes around blanks"
            raise click.UsageError(f"unexpected argument {stray[0]}: {told}", ctx)

    def invoke(self, ctx: click.Context) -> Any:
        start.begin()
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise click.exceptions.Exit(130) from None
        except MemoryError as error:
            raise RefusalError(f"out of memory{f' ({error})' if str(error) else ''}: stop other programs") from error
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                raise  # the reader of our output is gone: click exits quietly
            raise _refused(error) from error

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None and record[1]:  # an argument without a help text is in the usage line
                groups.setdefault(getattr(param, "group", "Other"), []).append(record)
        for group in sorted(groups, key=lambda group: group == "Other"):  # Other comes last
            with formatter.section(group):
                formatter.write_dl(groups[group])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if self.epilog:
            formatter.write("\n" + self.epilog.strip("\n") + "\n")


class Group(click.Group):
    """Several commands under one name. `default` is the command to run if the first argument does not name one."""

    def __init__(self, *args: Any, default: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.default = default

    def main(self, *args: Any, **extra: Any) -> Any:
        with terminal.steady():
            return super().main(*args, **extra)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        word = args[0] if args else ""
        misspelled = not Path(word).exists() and difflib.get_close_matches(word, self.commands)
        if word not in self.commands and not misspelled:
            args = [self.default, *args]
        return super().parse_args(ctx, args)


def _report(error: Exception) -> int:
    """Print the error that ended a process of several, unless another process failed first; return the exit status."""
    refusal = error if isinstance(error, click.ClickException) else None
    first = launch.first_error(error if refusal is None else ValueError(refusal.format_message()))
    if first.process == launch.number():
        text = f"Error: {refusal.format_message() if refusal else error}\n"
        if refusal is None and not isinstance(error, distributed.LostError):
            text = f"process {first.process} failed:\n{''.join(traceback.format_exception(error))}"
        killed = isinstance(error, distributed.EndedError) and launch.started_here()
        if not killed:  # the launcher reports a killed process
            terminal.put(text, sys.__stderr__)  # without the rank
    return first.status


def expand_home(argument: str) -> str:
    """Expand each `~` at the beginning of a path in an argument, as in `--outdir=~/x` and `~/a,~/b`; URLs stay."""
    home = os.path.expanduser("~")  # noqa: PTH111 (stays without a home)
    return argument if "://" in argument else re.sub(r"(?:^|(?<=[=,]))~(?=[/\\,]|$)", lambda _: home, argument)


def say(text: str = "") -> None:
    """Print a line on standard output, above a progress bar. Control characters are escaped, failures ignored."""
    bars = terminal.is_terminal(sys.stderr)
    with tqdm.external_write_mode(file=sys.stdout) if bars else nullcontext():
        terminal.put(f"{text}\n", sys.stdout)


def counted(number: int, thing: str) -> str:
    """Return `1 picture`, `2 pictures`."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


@contextmanager
def terminable() -> Iterator[None]:
    """Make SIGTERM raise SystemExit within the block, for cleanup on the way out."""
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def progress(iterable: Iterable[Item], total: int, label: str, note: Callable[[], str] = lambda: "") -> Iterator[Item]:
    """Yield the `total` items while showing progress on standard error: a bar on a terminal, ten lines in a log.

    `label` is before the bar, `note`, called after each item, behind it. Below 100 items a log gets no lines.
    """
    if terminal.is_terminal(sys.stderr):
        bar = tqdm(iterable, total=total, desc=terminal.clean(label), dynamic_ncols=True)
        for item in bar:
            yield item
            bar.set_postfix_str(terminal.clean(note()), refresh=False)
        return
    quiet = total < QUIET_BELOW or (launch.together() and launch.number())
    for done, item in enumerate(iterable, start=1):
        yield item
        if not quiet and done * 10 // total > (done - 1) * 10 // total:
            line = ", ".join(filter(None, [f"{label}: {done} of {total}", note()]))
            terminal.put(f"{line}\n", sys.stderr)


def _refused(error: OSError | ValueError) -> RefusalError:
    """Return an error as one sentence; ValueError, and OSError without a number, are sentences of ours."""
    if not isinstance(error, OSError) or error.errno is None:
        return RefusalError(str(error))
    place = f" {error.filename}" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return RefusalError(f"no space left to write{place}: free some, then start again")
    if isinstance(error, FileNotFoundError):
        return RefusalError(f"there is no{place or ' such file'}: check the path")
    if isinstance(error, PermissionError):
        mend = "choose another path, or change its permissions"
        return RefusalError(f"no permission for{place or ' a file'}: {mend}")
    return RefusalError(f"{place.strip() or 'a file'} cannot be used ({error.strerror}): choose another path")
