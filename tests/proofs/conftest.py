"""The long proofs: a seeded sample in the usual tests, whole under `make proof`, which writes docs/faults.md."""

import os
import platform
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
import torch

PAGE = Path("docs/faults.md")
BEGIN, END = "<!-- written by make proof -->", "<!-- end -->"


class Ledger:
    """What was proved, and how often."""

    def __init__(self, whole: bool) -> None:
        self.whole = whole
        self.rows: list[tuple[str, int, str]] = []

    def of(self, sample: int, whole: int) -> int:
        """How many of something to try."""
        return whole if self.whole else sample

    def add(self, fault: str, count: int, proved: str) -> None:
        self.rows.append((fault, count, proved))

    def table(self) -> str:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        versions = f"{platform.system()}, Python {platform.python_version()}, PyTorch {torch.__version__}"
        lines = [f"`make proof` on {date.today():%d %B %Y}, {cores} CPU cores, {versions}:", ""]
        lines += ["| fault | times | what was proved |", "|---|---:|---|"]
        lines += [f"| {fault} | {count:,} | {proved} |" for fault, count, proved in self.rows]
        return "\n".join(lines)


_ledgers: list[Ledger] = []


@pytest.fixture(scope="session")
def ledger(request: pytest.FixtureRequest) -> Iterator[Ledger]:
    _ledgers.append(Ledger(request.config.getoption("--proof")))
    yield _ledgers[-1]


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Only a proof that held, and was asked for whole, is written down."""
    if exitstatus == 0 and os.environ.get("WRITE_PROOF") and _ledgers and _ledgers[0].whole:
        text = PAGE.read_text(encoding="utf-8")
        before, _, rest = text.partition(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n{_ledgers[0].table()}\n{END}{rest.partition(END)[2]}", encoding="utf-8")
