"""Command lines that a script does not understand, and the one that was meant."""

import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from torch_utils import habits
from torch_utils.commandline import Word, read, spellings
from torch_utils.ranges import FloatList, SeedList

EXAMPLE = re.compile(r"\{([^}]*)\}")


def mend(command: click.Command, program: str, args: Sequence[str]) -> str:
    """What is wrong with a command line, and what to type instead; "" where its options and words can be told apart.

    Args:
        command: whose options they are.
        program: how the script is called, `train.py`.
        args: what was typed after it.
    """
    words = list(read(command, args))
    program = program if program.startswith("python") else f"python {program}"
    room = sum(1 if param.nargs == 1 else len(args) for param in command.params if isinstance(param, click.Argument))
    plain = [word for word in words if word.kind == "plain"]
    unknown = [word for word in words if word.kind == "unknown"]
    if unknown:
        return _unknown(command, unknown)
    return (
        _swallowed(command, words)
        or _flags(program, words, plain if len(plain) > room else [])
        or (_plain(command, program, words, plain[room:]) if len(plain) > room else "")
    )


def spelled(value: Any, choices: Sequence[Any]) -> Any:
    """A value in the spelling of the choices: `ADA` -> `ada`, `jpeg` -> `jpg`; others as they are."""
    if not isinstance(value, str) or value in choices:
        return value
    low = value.lower()
    same = [choice for choice in choices if _plainly(str(choice)) == _plainly(value)]
    other = habits.VALUES.get(low)
    return same[0] if len(same) == 1 else other if other in choices else value


def _plainly(text: str) -> str:
    return text.lower().replace("_", "-")


def _unknown(command: click.Command, words: Sequence[Word]) -> str:
    """Options that are none, and what the script has in their place."""
    offers = {word.name: offer(command, word.name, word.value) for word in words} | _size(command, words)
    if not any(offers.values()):
        return ""  # click looks for options that are spelled alike
    said = [f"No such option {name!r}" + (f": {text}" if text else "") for name, text in offers.items()]
    return "; ".join(said) + "."


def _size(command: click.Command, words: Sequence[Word]) -> dict[str, str]:
    """One offer for a width and a height: `--width 64 --height 32` is one --resolution."""
    sides = {side: word for word in words for side in ("width", "height") if word.name.lower().endswith(f"-{side}")}
    values = [str(sides[side].value) for side in ("width", "height") if side in sides]
    resolution = any("--resolution" in param.opts for param in command.params)
    if not resolution or len(values) < 2 or not all(map(str.isdecimal, values)):
        return {}
    return {word.name: f"here it is --resolution {'x'.join(values)}" for word in sides.values()}


def offer(command: click.Command, name: str, value: str | None = None) -> str:
    """What a script has in the place of an option that it does not have: `here it is --preset paper256`; "" if nothing.

    Args:
        command: the script's.
        name: of the option, with or without its dashes.
        value: what it was given; None for none.
    """
    params = {name: param for param in command.params if isinstance(param, click.Option) for name in spellings(param)}
    plain = name.lstrip("-").lower().replace("_", "-")
    if f"--{plain}" in params and f"--{plain}" != name:
        return f"here it is --{plain}"
    for row, offers in habits.OPTIONS:
        if plain in row.split():
            for text in offers:
                option, example = text.split()[0], EXAMPLE.search(text)
                if option in params and (example is None or _takes(params[option], text, example[1])):
                    return f"here it is {_filled(text, params[option], value)}"
                condition, _, sentence = text.removeprefix("for ").partition(": ")
                if text.startswith("for ") and condition in params:
                    return sentence
    return ""


def _filled(text: str, param: click.Option, value: str | None) -> str:
    """An offer with the value that was given, where the option takes it, and else with its example."""

    def fill(example: re.Match[str]) -> str:
        return shlex.quote(value) if value is not None and _takes(param, text, value) else example[1]

    return EXAMPLE.sub(fill, text)


def _takes(param: click.Option, text: str, value: str) -> bool:
    """Whether a value can take the place of the example in an offer."""
    if value.isalpha() and value.lower() in habits.YES | habits.NO:
        return False  # which is no name of anything
    if text.startswith("--set "):
        return re.fullmatch(r"[\w.+-]+", value) is not None
    try:
        param.type(spelled(value, getattr(param.type, "choices", ())), param, None)
    except (click.UsageError, ValueError):
        return False
    return True


def _swallowed(command: click.Command, words: Sequence[Word]) -> str:
    """An option that was taken for the value of the one before it."""
    names = {name for param in command.params if isinstance(param, click.Option) for name in spellings(param)}
    for word in words:
        if word.kind == "option" and len(word.texts) == 2 and word.value in names and word.value.startswith("--"):
            return f"{word.name} is followed by {word.value} and not by a value: give it one, or leave it out."
    return ""


def _flags(program: str, words: Sequence[Word], plain: Sequence[Word]) -> str:
    """Values of options that take none: `--mirror yes`, `--mirror=True`."""
    wrong = [word for word in words if word.kind == "flag" and word.value is not None]
    after = [
        word
        for word in plain
        if word.follows is not None
        and word.follows.kind == "flag"
        and str(word.value).lower() in habits.YES | habits.NO
    ]
    if not wrong and not after:
        return ""
    typed: list[str] = []
    for word in words:
        value = next((other.value for other in after if other.follows is word), word.value)
        if word.kind == "flag" and value is not None and word.param is not None:
            off = word.param.secondary_opts[:1] if word.name in word.param.opts else word.param.opts[:1]
            typed += off if value.lower() in habits.NO else [word.name]
        elif word not in after:
            typed += word.texts
    name = (wrong or [word.follows for word in after if word.follows])[0].name
    return f"{name} takes no value: {_shown(program, typed)}"


def _plain(command: click.Command, program: str, words: Sequence[Word], plain: Sequence[Word]) -> str:
    """Words that follow no option, and the options that they were meant for."""
    options = {param.opts[0]: param for param in command.params if isinstance(param, click.Option)}
    typed: dict[int, list[str]] = {id(word): word.texts for word in words}
    taken = {word.param.opts[0] for word in words if word.param is not None}
    why = ""
    for lead in {id(word.follows): word.follows for word in plain if word.follows is not None}.values():
        group = [word for word in plain if word.follows is lead]
        joined = _joined(lead, [str(word.value) for word in group])
        if joined is not None:
            typed |= {id(word): [] for word in group} | {id(lead): [lead.name, joined]}
            plain = [word for word in plain if word not in group]
            why = f"{lead.name} takes one value"
    for word in plain:
        name, value = _named(options, str(word.value), taken)
        if not name:
            return _lost(command, value)
        before = next((other for other in plain if typed[id(other)][:1] == [name]), None)
        if before is not None:
            typed[id(before)], typed[id(word)] = [name, f"{typed[id(before)][1]},{value}"], []
            continue
        taken.add(name)
        typed[id(word)] = [name, value] if value else [name]
        why = why or f"{word.value} has no option before it"
    return f"{why}: {_shown(program, [text for word in words for text in typed[id(word)]])}"


def _named(options: Mapping[str, click.Option], value: str, taken: Collection[str]) -> tuple[str, str]:
    """The option that a word is meant for, and the value: "" where a flag lacks its dashes, both where none is found.

    Args:
        options: those of the script, by their names.
        value: the word.
        taken: names of options that have a value already.
    """
    name, equals, rest = value.partition("=")
    named = options.get(f"--{name.replace('_', '-')}")
    if named is not None and bool(equals) != (named.is_flag or bool(named.count)):
        return named.opts[0], rest
    if {"--source", "--dest"} <= options.keys():
        return next((name for name in ("--source", "--dest") if name not in taken), ""), value
    free = (name for name in _meant(value) if name in options and (name not in taken or name in habits.LISTS))
    return next(free, ""), value


def _lost(command: click.Command, value: str) -> str:
    """A word that no option here takes."""
    name = re.split("[=:]", value)[0]
    known = offer(command, f"-{name}") if name.replace("-", "").replace("_", "").isalnum() else ""
    hint = f"; {known}" if known else ""
    return f"Got unexpected extra argument ({value}): options begin with --, and --help lists them{hint}"


def _joined(lead: Word, more: Sequence[str]) -> str | None:
    """The value of an option whose parts were separated by blanks: a list, a pattern that the shell has filled in, or
    a path with blanks. None where they belong to something else."""
    if lead.kind != "option" or lead.value is None or lead.param is None:
        return None
    parts = [lead.value, *more]
    if Path(" ".join(parts)).exists():
        return " ".join(parts)
    name = lead.param.opts[0]
    if isinstance(lead.param.type, SeedList | FloatList) or name in habits.LISTS:
        return ",".join(part.strip(",") for part in parts if part.strip(","))
    first, ending = Path(parts[0]), Path(parts[0]).suffix
    if any(Path(part).suffix != ending or Path(part).parent != first.parent for part in parts) or not ending:
        return None
    if ending.lower() in habits.ENDINGS[2][0].split():
        return str(first.parent)  # pictures: their folder
    return _pattern(parts)


def _pattern(parts: Sequence[str]) -> str:
    """`x-{000..002}.tar` of x-000.tar, x-001.tar and x-002.tar; `x-*.tar` where they are not numbered so."""
    start, end = _common(parts), _common([part[::-1] for part in parts])[::-1]
    start, end = start.rstrip("0123456789"), end.lstrip("0123456789")
    numbers = [part[len(start) : len(part) - len(end)] for part in parts]
    if all(number.isdigit() and len(number) == len(numbers[0]) for number in numbers):
        first = int(numbers[0])
        if [int(number) for number in numbers] == list(range(first, first + len(numbers))):
            return f"{start}{{{numbers[0]}..{numbers[-1]}}}{end}"
    return f"{start}*{end}"


def _common(texts: Sequence[str]) -> str:
    """What all texts begin with."""
    low, high = min(texts), max(texts)
    return low[: next((i for i, letter in enumerate(low) if high[i : i + 1] != letter), len(low))]


def _meant(value: str) -> tuple[str, ...]:
    """The options that a word may be meant for, the likeliest first."""
    path = Path(value)
    if value.lower() == "latest":
        return ("--resume",)
    if path.is_dir():
        is_run = any((path / name).is_file() for name in ("config.json", "stats.jsonl"))
        return habits.RUN if is_run else habits.FOLDER
    ending = path.suffix.lower()
    for endings, options in habits.ENDINGS:
        if ending and ending in endings.split():
            return options
    if re.fullmatch(r"[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*", value):
        return habits.SEEDS
    return ()


def _shown(program: str, args: Sequence[str]) -> str:
    return f"{program} {shlex.join(args)}".rstrip()
