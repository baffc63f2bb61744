"""The command line: what an operator types.

This room promises that every command says in one sentence what went wrong and what to do about it, with a traceback only for a
mistake of ours, and that its exit code can be relied upon: 0 it is well, 1 it is not (broken books, a demo that did not come to its
end), 2 it could not be tried (a setting that makes no sense, a port that is taken).

A command's file imports what it takes to explain the command. The house it imports where it runs: to read all of it takes seconds.
"""

from __future__ import annotations

from timmy.cli.commands import app, main

__all__ = ["app", "main"]
