"""Ending a command with Ctrl-C, or by the signal with which systems end processes."""

from __future__ import annotations

import functools
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

__all__ = ["Terminated", "interruptible"]

#: Functions that the interpreter calls in between, and whose exceptions it drops: JAX's visit to
#: the garbage collector, and finalizers.
_DROPPED = ("_xla_gc_callback", "__del__")

#: Seconds until an interrupt that came at such a moment comes again.
_AGAIN = 0.02


class Terminated(KeyboardInterrupt):
    """SIGTERM came; what cleans up after an interrupt cleans up after it too."""


@contextmanager
def interruptible() -> Generator[None]:
    """Let SIGINT and SIGTERM end what is done inside, also where an exception would be dropped.

    Does nothing in other threads than the first one. A signal that is not at its default, such as
    SIGINT in the background of a shell, is left alone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    taken = [number for number, handler in usual.items() if signal.getsignal(number) is handler]
    for number in taken:
        signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, usual[number])


def _interrupt(number: int, frame: FrameType | None) -> None:
    if frame is not None and frame.f_code.co_name in _DROPPED:
        threading.Timer(_AGAIN, functools.partial(_raise_in_main_thread, number)).start()
        return
    if number == signal.SIGTERM:
        raise Terminated
    signal.default_int_handler(number, frame)


def _raise_in_main_thread(number: int) -> None:
    """Interrupt the first thread; a signal raised in another one does not end what it waits for."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, number)
    else:
        signal.raise_signal(number)
