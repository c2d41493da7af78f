"""Whatever goes wrong becomes one notice in the window, with a report to copy."""

from __future__ import annotations

import platform
import sys
import threading
import traceback
from collections.abc import Callable
from importlib import metadata
from types import TracebackType

from explorer.app.state import Notice
from explorer.core.secrets import scrub

_REPORTED_PACKAGES = ("PySide6-Essentials", "pyqtgraph", "torch", "transformers", "numpy")


def describe(error: BaseException) -> Notice:
    """The notice for ``error``: its own sentence where it was written for people, else a general one."""
    report = report_of(error)
    if is_lack_of_memory(error):
        text = (
            "There was not enough memory: try a shorter text, a smaller dtype, the CPU, or a smaller model."
        )
        return Notice(text, report)
    if type(error).__module__.startswith("explorer.") or isinstance(error, ValueError):
        return Notice(scrub(str(error)), report)
    text = scrub(f"Something went wrong inside the program ({type(error).__name__}: {error}).")
    return Notice(text, report)


def is_lack_of_memory(error: BaseException) -> bool:
    """Whether ``error`` is torch's or Python's way of saying that memory ran out."""
    # By name: torch is not imported on the GUI thread. On the CPU torch raises a RuntimeError for it.
    names = {kind.__name__ for kind in type(error).__mro__}
    if "OutOfMemoryError" in names or isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def report_of(error: BaseException) -> str:
    """Versions and traceback, as text to send on. Holds no text that was typed, and no access token."""
    lines = [f"Python {platform.python_version()} on {platform.platform()}"]
    for package in _REPORTED_PACKAGES:
        try:
            lines.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            lines.append(f"{package} is not installed")
    return scrub("\n".join(lines) + "\n\n" + "".join(traceback.format_exception(error)))


def install_hooks(show: Callable[[Notice], None]) -> None:
    """Send exceptions that nobody caught, from any thread, to ``show`` and to standard error.

    ``show`` may be called on any thread; a Qt signal's ``emit`` is a fit one.
    """

    def on_exception(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        sys.stderr.write(scrub("".join(traceback.format_exception(kind, error, trace))))
        if not issubclass(kind, KeyboardInterrupt):
            show(describe(error))

    def on_thread_exception(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None:
            on_exception(args.exc_type, args.exc_value, args.exc_traceback)

    sys.excepthook = on_exception
    threading.excepthook = on_thread_exception
