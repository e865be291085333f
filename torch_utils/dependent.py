"""A command that learns some of its options from others: from the model that is trained, the network that is opened."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import click

from torch_utils.cli import Command, Option, RefusalError, told
from torch_utils.flags import spellings


class More(NamedTuple):
    """What a command learns from its first options."""

    subject: str  # the model or network in question, for errors: "dit-s/2", "faces64.safetensors, a StyleGAN2"
    options: Sequence[Option]  # further options of the command
    foreign: Mapping[str, str] = {}  # flags of other models -> their titles, from `foreign_flags`
    found: Any = None  # handed to the callback as `click.get_current_context().obj`
    note: str = ""  # a sentence at the end of --help


class DependentCommand(Command):
    """A command with options that depend on others: on the model that is trained, or the network that is opened.

    `more` takes the values of the command's own options by parameter name, None for those that are missing or wrong,
    and "help", whether --help is given. It may raise ValueError or OSError. Examples with options of other models are
    left out.
    """

    def __init__(self, *args: Any, more: Callable[[Mapping[str, Any]], More], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.more = more
        self.learned: More | None = None

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        lenient = extra | {"resilient_parsing": True, "ignore_unknown_options": True, "allow_extra_args": True}
        early = super().make_context(info_name, list(args), parent, **lenient)
        asked = not {"-h", "--help"}.isdisjoint(args)
        try:
            more = self.more(early.params | {"help": asked})
        except (OSError, ValueError) as error:
            raise RefusalError(told(error) if isinstance(error, OSError) else str(error)) from error
        full = copy.copy(self)  # `self` is used again, by tests
        full.params, full.learned = [*self.params, *more.options], more
        lines = (self.epilog or "").splitlines()
        examples = "\n".join(line for line in lines if more.foreign.keys().isdisjoint(line.split()))
        full.epilog = "\n".join(filter(None, [examples, more.note]))
        return super(DependentCommand, full).make_context(info_name, args, parent, **{"obj": more.found} | extra)

    def explain_unknown(self, name: str) -> str:
        owner = self.learned.foreign.get(name) if self.learned is not None else None
        if self.learned is None or owner is None:
            return super().explain_unknown(name)
        return f"{name} does not apply to {self.learned.subject}, only to {owner}: leave it out"


def foreign_flags(mine: Sequence[Option], others: Mapping[str, Sequence[Option]]) -> dict[str, str]:
    """Flags that `mine` lack -> the titles of `others` that have them: `{"--steps": "ADM and DiT"}`."""
    owners: dict[str, list[str]] = {}
    for title, options in others.items():
        for name in set(spellings(options)) - set(spellings(mine)):
            owners.setdefault(name, []).append(title)
    return {name: " and ".join(titles) for name, titles in owners.items()}
