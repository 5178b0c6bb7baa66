"""Ending a command with Ctrl-C, or by the signal with which systems end processes."""

from __future__ import annotations

import functools
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
def interruptible(received: list[int] | None = None) -> Generator[None]:
    """Let SIGINT and SIGTERM end what is done inside, also where an exception would be dropped.

    Both raise `KeyboardInterrupt`: what cleans up after the one cleans up after the other.
    Does nothing in other threads than the first one. A signal that is not at its default, such as
    SIGINT in the background of a shell, is left alone.

    Args:
        received: takes the numbers of the signals that came.
    """
    came = [] if received is None else received
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    taken = [number for number, handler in usual.items() if signal.getsignal(number) is handler]
    for number in taken:
        signal.signal(number, functools.partial(_interrupt, came))
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, usual[number])


def _interrupt(came: list[int], number: int, frame: FrameType | None) -> None:
    if frame is not None and frame.f_code.co_name in _DROPPED:
        threading.Timer(_AGAIN, functools.partial(_raise_in_main_thread, number)).start()
        return
    came.append(number)
    signal.default_int_handler(number, frame)


def _raise_in_main_thread(number: int) -> None:
    """Interrupt the first thread; a signal raised in another one does not end what it waits for."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, number)
    else:
        signal.raise_signal(number)
