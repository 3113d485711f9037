"""A command as all jobs are: its refusals, and its end by Ctrl-C, are one line each."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import click

from gen.damage import DamageError, take_remarks
from gen.results.fence import LostError
from gen.results.room import FullError
from jobs import interrupt
from jobs.output import drop_unread

BAD_INPUT = 2


class Program(click.Command):
    """A command whose refusals are one line on stderr: "error: what, what is allowed, what to do"."""

    def main(self, *arguments: Any, **settings: Any) -> NoReturn:
        """Runs the command and exits: 0 done, 1 a run failed, a place is full, or another job has taken the name; 2 bad
        input, 130 interrupted."""
        interrupt.imports_are_done()
        try:
            status = super().main(*arguments, **{**settings, "standalone_mode": False})
        except click.ClickException as error:
            click.echo(f"error: {' '.join(error.format_message().split())}", err=True)
            sys.exit(BAD_INPUT)
        except (click.Abort, KeyboardInterrupt):
            interrupt.end()
        except DamageError as error:  # found once the job had begun
            click.echo(f"error: {error}", err=True)
            sys.exit(BAD_INPUT)
        except (LostError, FullError) as error:  # as its heartbeat tells it, in a thread, once the job had begun
            interrupt.end(str(error))
        finally:
            drop_unread()
        sys.exit(status or 0)

    def invoke(self, context: click.Context) -> Any:
        """Runs what the command is for. Ctrl-C ends it here, for click would write an empty line."""
        try:
            return super().invoke(context)
        except KeyboardInterrupt:
            interrupt.end()


class Programs(Program, click.Group):
    """Several commands under one name."""


@contextmanager
def refusing() -> Iterator[None]:
    """Turns an error of the checks in the block into bad input: a wrong value, or a place that cannot be read. It is
    not for training itself, where such an error is a fault of the program."""
    try:
        yield
    except BrokenPipeError:  # whoever reads the output has read enough: click ends the job without a word
        raise
    except (ValueError, OSError) as error:
        raise click.ClickException(str(error)) from error
    finally:
        for line in take_remarks():
            click.echo(line, err=True)
