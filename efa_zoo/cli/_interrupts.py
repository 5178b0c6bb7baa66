"""Interrupting a command with Ctrl-C."""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

__all__ = ["interruptible"]

#: Functions that the interpreter calls in between, and whose exceptions it drops: JAX's visit to
#: the garbage collector, and finalizers.
_DROPPED = ("_xla_gc_callback", "__del__")

#: Seconds until an interrupt that came at such a moment comes again.
_AGAIN = 0.02


@contextmanager
def interruptible() -> Generator[None]:
    """Let an interrupt end what is done inside, also where its exception would be dropped.

    Does nothing in other threads than the first one, and where interrupts are not Python's own,
    as in the background of a shell.
    """
    usual = signal.default_int_handler
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not usual
    ):
        yield
        return
    signal.signal(signal.SIGINT, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)


def _interrupt(number: int, frame: FrameType | None) -> None:
    if frame is not None and frame.f_code.co_name in _DROPPED:
        threading.Timer(_AGAIN, _raise_in_main_thread).start()
        return
    signal.default_int_handler(number, frame)


def _raise_in_main_thread() -> None:
    """Interrupt the first thread; a signal raised in another one does not end what it waits for."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:
        signal.raise_signal(signal.SIGINT)
