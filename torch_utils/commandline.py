"""The words of a command line, told apart as click does it: options with their values, flags, and what is neither."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import click


@dataclass
class Word:
    """A part of a command line, as the script reads it.

    Attributes:
        kind: `option` with its value, `flag`, `unknown` (an option that is none), or `plain`.
        texts: the arguments it is made of, one or two.
        name: of the option, as it was typed.
        value: of the option; of a plain word itself. None where there is none.
        param: the option that this is.
        follows: of a plain word: the word that it stands behind, with nothing but plain ones between.
    """

    kind: str
    texts: list[str]
    name: str = ""
    value: str | None = None
    param: click.Option | None = None
    follows: "Word | None" = None


def read(command: click.Command, args: Sequence[str]) -> Iterator[Word]:
    """The words of a command line, told apart as click does it."""
    known = {name: param for param in command.params if isinstance(param, click.Option) for name in spellings(param)}
    rest, before = list(args), None
    while rest:
        text = rest.pop(0)
        if text == "--":
            yield from (Word("plain", [word], value=word) for word in rest)
            return
        if text[:1] != "-" or len(text) == 1:
            word = Word("plain", [text], value=text, follows=before)
            yield word
            before = before or word
            continue
        name, equals, value = text.partition("=")
        word = Word("unknown", [text], name, value if equals else None, known.get(name))
        if word.param is None and text[:2] in ("-h", "--") and name in ("-h", "--help"):
            word.kind = "flag"
        elif word.param is None:
            if not equals and rest and rest[0][:1] != "-":
                word.value = rest[0]  # perhaps: it is a plain word, too
        elif word.param.is_flag or word.param.count:
            word.kind = "flag"
        else:
            word.kind = "option"
            optional = getattr(word.param, "_flag_needs_value", False) and (not rest or rest[0][:1] == "-")
            if not equals and rest and not optional:
                word.value = rest.pop(0)
                word.texts.append(word.value)
        yield word
        before = word


def spellings(param: click.Option) -> list[str]:
    """All spellings of an option, those that switch it off too."""
    return [*param.opts, *param.secondary_opts]
