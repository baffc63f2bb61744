"""What the demo looks like: readable in 80 columns, without colour and without a terminal."""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import segno
from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, SpinnerColumn, TaskID, TextColumn
from rich.progress import Progress as ProgressBars
from rich.table import Table
from rich.text import Text

from timmy.regtest import Progress, Step

WIDTH_MAX = 80
INDENT = "   "
LONG_NAME = re.compile(r"((?:[a-z]+_)?[a-z0-9]{8})[a-z0-9]{8,}")
QUIET_ZONE = 2  # light modules around the QR code: ISO/IEC 18004 asks for four, every reader in use takes two


class Screen:
    """Prints. Nothing is ever taken back or redrawn, so a file that is written to holds the same as a terminal shows."""

    def __init__(self, console: Console) -> None:
        self.console = console
        if isinstance(console.file, io.TextIOWrapper):
            console.file.reconfigure(errors="replace")  # a terminal that knows few letters shows "?" for the others, and goes on
        self.width = min(console.width, WIDTH_MAX)
        self._step = 0
        self._called: set[tuple[str, str]] = set()

    @property
    def unicode(self) -> bool:
        return not self.console.options.ascii_only

    def title(self, text: str, *lines: str) -> None:
        self.console.print()
        self.console.print(Text(f" {text}", style="bold yellow"))
        for line in lines:
            self.say(line)

    def step(self, text: str) -> None:
        self._step += 1
        rule = ("─" if self.unicode else "-") * max(0, self.width - len(text) - len(str(self._step)) - 3)
        self.console.print()
        self.console.print(
            Text.assemble((f" {self._step} ", "bold yellow"), (text, "bold"), " ", (rule, "dim")), no_wrap=True, overflow="crop"
        )

    def say(self, text: str, style: str = "", *, hang: int = 0) -> None:
        """`hang`: how far later lines stand in, under the first."""
        later = INDENT + " " * hang
        for line in text.splitlines():
            for part in textwrap.wrap(line, self.width, initial_indent=INDENT, subsequent_indent=later, break_on_hyphens=False):
                self.console.print(Text(part, style=style), soft_wrap=True, highlight=False)

    def note(self, text: str) -> None:
        self.say(text, "dim")

    def good(self, text: str) -> None:
        self.say(("✓ " if self.unicode else "* ") + text, "green", hang=2)

    def bad(self, text: str) -> None:
        self.say(("✗ " if self.unicode else "x ") + text, "bold red", hang=2)

    def warn(self, text: str) -> None:
        self.say("! " + text, "yellow", hang=2)

    def call(self, method: str, path: str, status: int) -> None:
        """One HTTP call, as it went over the wire. Looks at a job's state are many alike: only the first is shown."""
        if (method, path) not in self._called:
            self._called.add((method, path))
            self.note(f"{method} {short(path)}  {status}")

    @contextmanager
    def progress(self) -> Iterator[Progress]:
        """A callback for what takes long: bars in a terminal, one line per step elsewhere. The bars go when the last phase is over."""
        bars = ProgressBars(SpinnerColumn(), TextColumn("{task.description}"), BarColumn(20), console=self.console, transient=True)
        tasks: dict[str, TaskID] = {}

        def show(step: Step) -> None:
            if not self.console.is_terminal:
                self.note(f"{step.phase} {step.done}/{step.total} {step.text}")
                return
            if step.phase not in tasks:
                tasks[step.phase] = bars.add_task(step.text, total=step.total)
            task = tasks[step.phase]
            bars.update(task, completed=step.done, total=step.total, description=f"{INDENT}{step.text[:50]}")
            if step.done == step.total:
                bars.stop()
            else:
                bars.start()

        try:
            yield show
        finally:
            bars.stop()

    def table(self, rows: Iterable[Sequence[str]], *, last_bold: bool = False) -> None:
        """Rows of a text, a figure and a remark; figures stand under one another."""
        rows = list(rows)
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True)
        table.add_column(justify="right", no_wrap=True)
        table.add_column(style="dim")
        for n, row in enumerate(rows):
            table.add_row(*row, style="bold" if last_bold and n == len(rows) - 1 else None)
        with self.console.capture() as printed:
            self.console.print(Padding(table, (0, 0, 0, len(INDENT)), expand=False), width=self.width)
        for line in printed.get().splitlines():  # rich fills lines up with spaces: a file, or who copies from here, has no use for them
            self.console.out(line.rstrip(), highlight=False)

    def qr(self, payment_request: str) -> None:
        """The invoice for a phone's camera. Without Unicode there is nothing to draw with: then the text alone must do."""
        if self.unicode:
            code = segno.make_qr(f"LIGHTNING:{payment_request.upper()}", error="l", boost_error=False)
            for line in half_blocks([[bool(module) for module in row] for row in code.matrix_iter(border=QUIET_ZONE)]):
                self.console.print(Text(INDENT) + Text(line, style="white on black"), no_wrap=True, overflow="crop", highlight=False)
        self.note(f"{payment_request[:40]}…{payment_request[-12:]}" if self.unicode else payment_request)


def short(text: str) -> str:
    """With every id and hash in it cut to what tells two apart."""
    return LONG_NAME.sub(r"\1…", text)


def half_blocks(matrix: list[list[bool]]) -> list[str]:
    """Two rows of modules in one line of text. Light modules are drawn and dark ones left out: right on a dark screen, and
    on a light one still read by the phones' own cameras, which take inverted codes."""
    if len(matrix) % 2:
        matrix = [*matrix, [False] * len(matrix[0])]
    drawn = {(False, False): "█", (False, True): "▀", (True, False): "▄", (True, True): " "}
    return ["".join(drawn[pair] for pair in zip(upper, lower, strict=True)) for upper, lower in zip(matrix[::2], matrix[1::2], strict=True)]


class Stream:
    """Text that arrives in pieces, wrapped at words as it comes."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._margin = INDENT + ("│ " if screen.unicode else "| ")
        self._column = 0
        self._word = ""

    def feed(self, piece: str) -> None:
        for character in piece:
            if character.isspace():
                self._flush()
                if character == "\n":
                    self._newline()
            else:
                self._word += character

    def end(self) -> None:
        self._flush()
        if self._column:
            self._newline()

    def _flush(self) -> None:
        if not self._word:
            return
        if self._column and self._column + 1 + len(self._word) > self._screen.width:
            self._newline()
        if self._column == 0:
            self._write(Text(self._margin, style="dim"))
            self._column = len(self._margin)
        else:
            self._write(Text(" "))
            self._column += 1
        self._write(Text(self._word))
        self._column += len(self._word)
        self._word = ""

    def _newline(self) -> None:
        self._write(Text("\n"))
        self._column = 0

    def _write(self, text: Text) -> None:
        self._screen.console.print(text, end="", soft_wrap=True, highlight=False)
