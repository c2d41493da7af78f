"""Set up the transformer explorer and run it, or set it up and run its checks.

Needs only Python 3.11 or newer and its standard library::

    python3 packaging/bootstrap.py run   [explorer arguments …]
    python3 packaging/bootstrap.py test  [pytest arguments …]
    python3 packaging/bootstrap.py setup [--test] [--recipe]
"""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import python_packages
import system_packages
from reporting import SetupError, say

USAGE = """\
usage: python3 packaging/bootstrap.py COMMAND

  run [explorer arguments …]   set up everything and open the window
  test [pytest arguments …]    set up everything and run all checks, pytest last
  setup [--test] [--recipe]    set up only; --test adds what the checks need,
                               --recipe what training the bundled model needs
"""
MINIMUM_PYTHON = (3, 11)
EXTRA_OPTIONS = {"--test": "test", "--recipe": "recipe"}
COMMANDS_WITHOUT_WINDOW = {"trace", "screenshot", "bench", "inspect", "doctor"}
XVFB = ("xvfb-run", "-a", "-s", "-screen 0 1920x1200x24")
MOST_THREADS = 4

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_NO_SCREEN = 2
EXIT_INTERRUPTED = 130


@dataclass(frozen=True)
class Check:
    """One command of the test run and the name it goes by."""

    name: str
    command: tuple[str, ...]


def python_is_too_old(version: tuple[int, int]) -> bool:
    """Tell whether a Python version is below the one that the program needs."""
    return version < MINIMUM_PYTHON


def has_screen(system: str, environment: Mapping[str, str]) -> bool:
    """Tell whether a window can be shown; on Linux the environment says so."""
    if not system.startswith("linux"):
        return True
    return any(environment.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"))


def opens_window(arguments: Sequence[str]) -> bool:
    """Tell whether the program, given these arguments, would open its window."""
    if any(argument in ("-h", "--help", "--version") for argument in arguments):
        return False
    return not arguments or arguments[0] not in COMMANDS_WITHOUT_WINDOW


def no_screen_line() -> str:
    """Give the one line for a machine without a screen: what works there."""
    explorer = f"{shlex.quote(os.path.relpath(python_packages.venv_python()))} -m explorer"
    return (
        "The set-up is complete, but there is no screen here for the window; without one, use "
        f'`{explorer} trace --model fr-en --text "Bonjour." --out DIR` or '
        f'`{explorer} screenshot --model fr-en --text "Bonjour." --out FILE.png`.'
    )


def set_up(extras: Collection[str]) -> str | None:
    """Bring the system packages and the virtual environment to what the program needs.

    Returns
    -------
    str or None
        One line on system packages that a person still has to install, or None.

    Raises
    ------
    SetupError
        If the virtual environment cannot be made or filled.
    """
    lacking = None
    if sys.platform.startswith("linux"):
        tests = system_packages.FOR_TESTS if "test" in extras else ()
        lacking = system_packages.ensure((*system_packages.FOR_WINDOW, *tests))
    try:
        python_packages.ensure(extras)
    except SetupError as error:
        raise SetupError(f"{lacking}\n{error}" if lacking else str(error)) from error
    return lacking


def run(arguments: Sequence[str]) -> int:
    """Set up everything, then become the program."""
    lacking = set_up(())
    if opens_window(arguments) and not has_screen(sys.platform, os.environ):
        say(no_screen_line())
        return EXIT_NO_SCREEN
    if lacking:
        raise SetupError(lacking)
    command = [str(python_packages.venv_python()), "-m", "explorer", *arguments]
    if os.name != "nt":
        os.execv(command[0], command)
    return subprocess.run(command, check=False).returncode


def test_environment(environment: Mapping[str, str], cores: int) -> dict[str, str]:
    """Give the environment that the checks run in.

    One core is left to the window under test: numeric threads that outnumber the free cores slow
    each other down by tens of times. No test may depend on a network.
    """
    threads = str(max(1, min(MOST_THREADS, cores - 1)))
    wanted = {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
    return {**wanted, **environment, "HF_HUB_OFFLINE": "1"}


def checks(python: str, pytest_arguments: Sequence[str], system: str) -> list[Check]:
    """List the checks in their order, pytest last so that its summary ends the output."""
    pytest = (python, "-m", "pytest", *pytest_arguments)
    if system.startswith("linux"):
        # OpenGL views need a real window system: Qt's offscreen platform cannot show them.
        pytest = (*XVFB, "env", "QT_QPA_PLATFORM=xcb", *pytest)
    return [
        Check("ruff check", (python, "-m", "ruff", "check", ".")),
        Check("ruff format", (python, "-m", "ruff", "format", "--check", ".")),
        Check("mypy", (python, "-m", "mypy")),
        Check("pytest", pytest),
    ]


def run_check(check: Check, environment: Mapping[str, str]) -> int:
    """Run one check at the repository's root and give its exit code."""
    say(f"== {check.name}")
    return subprocess.run(check.command, cwd=python_packages.ROOT, env=environment, check=False).returncode


def test(arguments: Sequence[str]) -> int:
    """Set up everything, run every check, and fail if any of them does."""
    lacking = set_up(("test",))
    if lacking:
        raise SetupError(lacking)
    environment = test_environment(os.environ, os.cpu_count() or 1)
    *static, pytest = checks(str(python_packages.venv_python()), arguments, sys.platform)
    failed = [check.name for check in static if run_check(check, environment) != 0]
    if failed:
        say(f"Failed so far: {', '.join(failed)}. This run will end as failed.")
    code = run_check(pytest, environment)
    return code or (EXIT_FAILED if failed else 0)


def setup(arguments: Sequence[str]) -> int:
    """Set up only what the options ask for."""
    unknown = [argument for argument in arguments if argument not in EXTRA_OPTIONS]
    if unknown:
        print(f"setup takes only {' and '.join(EXTRA_OPTIONS)}, not {unknown[0]}.", file=sys.stderr)
        return EXIT_USAGE
    lacking = set_up({EXTRA_OPTIONS[argument] for argument in arguments})
    if lacking:
        raise SetupError(lacking)
    say(f"Everything is set up in {os.path.relpath(python_packages.VENV)}.")
    return 0


COMMANDS = {"run": run, "test": test, "setup": setup}


def main(arguments: Sequence[str]) -> int:
    """Carry out one command and give the exit code."""
    if arguments and arguments[0] in ("-h", "--help"):
        print(USAGE, end="")
        return 0
    if not arguments or arguments[0] not in COMMANDS:
        print(USAGE, end="", file=sys.stderr)
        return EXIT_USAGE
    if python_is_too_old(sys.version_info[:2]):
        needed = ".".join(map(str, MINIMUM_PYTHON))
        print(f"Python {needed} or newer is needed; this is {platform.python_version()}.", file=sys.stderr)
        return EXIT_FAILED
    try:
        return COMMANDS[arguments[0]](arguments[1:])
    except SetupError as error:
        print(error, file=sys.stderr)
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        print(f"The set-up stopped: {error.strerror or error}{where}.", file=sys.stderr)
    except KeyboardInterrupt:
        print("Stopped. Run the same command again to go on.", file=sys.stderr)
        return EXIT_INTERRUPTED
    return EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
