"""`timmy serve`: opens the house and keeps it open."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace
from typing import TYPE_CHECKING

import typer

from timmy import __version__
from timmy.cli.books import describe
from timmy.cli.screen import out, say, warn, why_not
from timmy.errors import Refusal
from timmy.settings import Settings

if TYPE_CHECKING:  # what a command needs it imports where it runs: its help must not wait for the house
    from timmy.web import Server

STARTED_LOOK_SECONDS = 0.02


class CannotListen(Refusal):
    code = "cannot_listen"
    title = "The server cannot listen there"


def serve() -> None:
    """Serve, configured by environment variables and .env (timmy config lists them).

    With nothing configured it works with stand-ins: a built-in wallet, a built-in agent, an embedded database.
    """
    import uvloop

    from timmy import logs

    settings = Settings.load()
    for warning in settings.warnings:
        warn(warning)
    logs.configure(level=settings.log_level, style=settings.log_format, secrets=settings.secrets())
    listener = listen(settings.host, settings.port)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(keep_open(at_its_port(settings, listener), listener))
    except KeyboardInterrupt:
        raise typer.Exit(0) from None
    finally:
        listener.close()


def listen(host: str, port: int) -> socket.socket:
    """Before anything else is opened: a port that is taken is the most usual reason why a server does not start."""
    from timmy.web.server import BACKLOG

    try:
        family, *_ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as trouble:
        raise CannotListen(f"{host}:{port}: {why_not(trouble)}. Stop what listens there, or choose another HOST or PORT.") from None


def at_its_port(settings: Settings, listener: socket.socket) -> Settings:
    """PORT=0 took a free port: from here on it is the one that was taken."""
    if settings.port != 0:
        return settings
    port = listener.getsockname()[1]
    return replace(settings, port=port, public_url=settings.public_url if "PUBLIC_URL" in settings.origins else "")


async def keep_open(settings: Settings, listener: socket.socket) -> None:
    from timmy.app import build
    from timmy.app.garbage import look_for_it_rarely
    from timmy.web.server import raise_open_files, server

    async with build(settings) as app:
        welcome(settings)
        for caution in app.cautions:
            warn(caution)
        running = server(app.web, app.house, host=settings.host, port=settings.port)
        look_for_it_rarely()
        raise_open_files()
        opened = asyncio.create_task(tell_when_open(running, settings.public_url))
        try:
            await running.serve(sockets=[listener])
        finally:
            opened.cancel()


async def tell_when_open(running: Server, url: str) -> None:
    """Said once requests are answered, and not before: scripts wait for this line."""
    while not running.started:  # noqa: ASYNC110 - uvicorn has a flag and no event
        await asyncio.sleep(STARTED_LOOK_SECONDS)
    out.print(f"Timmy is open at {url}", markup=False, highlight=False, soft_wrap=True)


def welcome(settings: Settings) -> None:
    say(f"Timmy {__version__}", "bold yellow")
    for name, value in (
        ("database", describe(settings)),
        ("wallet", settings.wallet),
        ("models", f"{settings.provider}: {settings.eval_model} judges, {settings.work_model} works"),
        ("payouts", "on" if settings.payouts_enabled else "OFF: what is owed stays owed (PAYOUTS_ENABLED=0)"),
    ):
        out.print(f"  {name:<9} {value}", markup=False, highlight=False, soft_wrap=True)
    for stand_in in settings.stand_ins:
        out.print(f"  ! {stand_in}", style="bold yellow", markup=False, highlight=False, soft_wrap=True)
    if settings.dev_routes:
        out.print(
            "  ! Development routes are open: invoices can be paid by HTTP (DEV_ROUTES=0 closes them).",
            style="bold yellow",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
