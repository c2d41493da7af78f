"""The libraries that Qt and OpenGL need from the system, and how a Debian gets them.

PySide6's wheels carry Qt itself, but not the libraries that talk to the screen, the fonts and the
graphics driver. What is missing is found by asking the dynamic loader, as Qt will; so a package that
a newer release has renamed (``libglib2.0-0t64``) is not asked for again.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reporting import SetupError, say

if TYPE_CHECKING:
    from collections.abc import Callable

    Probe = Callable[["SystemPackage"], bool]

FONT_SUFFIXES = {".ttf", ".otf", ".ttc"}
APT_LOCK_WAIT_S = 300


@dataclass(frozen=True)
class SystemPackage:
    """One Debian package and what it is wanted for.

    Parameters
    ----------
    name
        The package's name on Debian 12.
    libraries
        Names that the dynamic loader must find.
    commands
        Programs that must be on the path.
    brings_fonts
        True where any installed font will do in its place.
    """

    name: str
    libraries: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    brings_fonts: bool = False


FOR_WINDOW = (
    SystemPackage("libgl1", libraries=("libGL.so.1",)),
    SystemPackage("libegl1", libraries=("libEGL.so.1",)),
    SystemPackage("libglib2.0-0", libraries=("libglib-2.0.so.0", "libgthread-2.0.so.0")),
    SystemPackage("libxkbcommon0", libraries=("libxkbcommon.so.0",)),
    SystemPackage("libdbus-1-3", libraries=("libdbus-1.so.3",)),
    SystemPackage("libfontconfig1", libraries=("libfontconfig.so.1",)),
    SystemPackage("fonts-dejavu-core", brings_fonts=True),
    SystemPackage("libxcb-cursor0", libraries=("libxcb-cursor.so.0",)),
    SystemPackage("libxcb-icccm4", libraries=("libxcb-icccm.so.4",)),
    SystemPackage("libxcb-keysyms1", libraries=("libxcb-keysyms.so.1",)),
    SystemPackage("libxcb-shape0", libraries=("libxcb-shape.so.0",)),
    SystemPackage("libxcb-xkb1", libraries=("libxcb-xkb.so.1",)),
    SystemPackage("libxkbcommon-x11-0", libraries=("libxkbcommon-x11.so.0",)),
)
FOR_TESTS = (
    SystemPackage("xvfb", commands=("Xvfb", "xvfb-run")),
    SystemPackage("xauth", commands=("xauth",)),
)


def library_loads(name: str) -> bool:
    """Tell whether the dynamic loader finds a library and all that it needs."""
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def any_font_is_installed(folders: Iterable[Path] | None = None) -> bool:
    """Tell whether there is at least one outline font in the usual folders."""
    if folders is None:
        home = Path.home()
        folders = [Path("/usr/share/fonts"), Path("/usr/local/share/fonts")]
        folders += [home / ".fonts", home / ".local/share/fonts"]
    return any(file.suffix.lower() in FONT_SUFFIXES for folder in folders for file in folder.rglob("*"))


def is_present(package: SystemPackage) -> bool:
    """Tell whether everything that a package is wanted for is there already."""
    return (
        all(library_loads(name) for name in package.libraries)
        and all(shutil.which(name) for name in package.commands)
        and (not package.brings_fonts or any_font_is_installed())
    )


def missing_packages(packages: Iterable[SystemPackage], probe: Probe = is_present) -> list[str]:
    """Name the packages that a probe does not find.

    Parameters
    ----------
    packages
        What is needed.
    probe
        Tells whether one package's contents are there.

    Returns
    -------
    list of str
        Debian package names, in the given order.
    """
    return [package.name for package in packages if not probe(package)]


def root_prefix() -> list[str] | None:
    """Give what to put before a command that needs root: nothing, ``sudo -n``, or None for no way."""
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") is None:
        return None
    allowed = subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False)
    return ["sudo", "-n"] if allowed.returncode == 0 else None


def install_hint(names: Sequence[str]) -> str:
    """Give the one line that names missing packages and the command that installs them."""
    packages = " ".join(names)
    if shutil.which("apt-get") is None:
        return (
            f"The system lacks what Debian calls {packages}: "
            "install their counterparts with your package manager, then run this again."
        )
    sudo = "" if os.geteuid() == 0 else "sudo "
    return (
        "The system lacks some packages; install them with: "
        f"{sudo}apt-get update && {sudo}apt-get install -y {packages}"
    )


def apt_commands(prefix: Sequence[str], names: Sequence[str]) -> list[list[str]]:
    """Give the commands that install exactly these packages, the package lists renewed first."""
    apt = [*prefix, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q"]
    apt += ["-o", f"DPkg::Lock::Timeout={APT_LOCK_WAIT_S}"]
    return [[*apt, "update"], [*apt, "install", "-y", "--no-install-recommends", *names]]


def apt_install(names: Sequence[str]) -> None:
    """Install packages with apt-get.

    Raises
    ------
    SetupError
        If there is no apt-get, no right to use it, or it fails; with the command to type.
    """
    prefix = root_prefix()
    if shutil.which("apt-get") is None or prefix is None:
        raise SetupError(install_hint(names))
    say(f"Installing system packages with apt-get: {' '.join(names)}")
    for command in apt_commands(prefix, names):
        # Only the install counts: an update that fails for one unrelated source may be good enough.
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        reason = next((line for line in done.stderr.splitlines() if line.startswith("E:")), "no reason given")
        raise SetupError(f"apt-get failed ({reason.removeprefix('E:').strip()}). {install_hint(names)}")


def ensure(packages: Iterable[SystemPackage]) -> str | None:
    """Install what is missing where that can be done.

    Returns
    -------
    str or None
        One line that says what a person has to install by hand, or None when everything is there.
    """
    wanted = list(packages)
    names = missing_packages(wanted)
    if not names:
        return None
    try:
        apt_install(names)
    except SetupError as error:
        return str(error)
    still = missing_packages(wanted)
    return f"apt-get ran, but these are still not usable: {' '.join(still)}" if still else None
