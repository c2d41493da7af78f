"""The virtual environment in ``.venv``: made once, filled with the tested versions, left alone after.

A stamp inside the environment says what it was filled from. While that has not changed, nothing is
asked of pip, and starting the program costs no network.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import system_packages
from reporting import SetupError, say

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYPROJECT = ROOT / "pyproject.toml"
CONSTRAINTS = ROOT / "packaging" / "constraints.txt"

TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
CUDA_NAME = re.compile(r"(nvidia|cuda|triton|pytorch-triton)(?![a-z0-9])", re.IGNORECASE)
DOWNLOAD_LINE = re.compile(r"\s*Downloading (\S+) \((\d+(?:\.\d+)?) (MB|GB)\)")
WORTH_NAMING_MB = 10

GIB = 1024**3
NEEDED_BYTES = 3 * GIB
NEEDED_WITH_CUDA_BYTES = 10 * GIB

NETWORK_FAILURES = (
    "NewConnectionError",
    "Failed to establish a new connection",
    "Temporary failure in name resolution",
    "Failed to resolve",
    "Network is unreachable",
    "Max retries exceeded",
    "timed out",
    "ProxyError",
)


def venv_python(venv: Path = VENV) -> Path:
    """Give the path of an environment's interpreter on this platform."""
    return venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def venv_version(venv: Path = VENV) -> str | None:
    """Ask an environment's interpreter for its version; None where it is absent or does not start."""
    code = "import platform; print(platform.python_version())"
    try:
        done = subprocess.run(
            [str(venv_python(venv)), "-c", code], capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def can_make_venv() -> bool:
    """Tell whether this Python holds what ``python -m venv`` needs; Debian ships it separately."""
    code = "import ensurepip, venv; ensurepip.version()"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def ensure_venv(venv: Path = VENV) -> str:
    """Make the environment unless it is there and starts.

    Returns
    -------
    str
        The version of its Python.

    Raises
    ------
    SetupError
        If it cannot be made.
    """
    version = venv_version(venv)
    if version is not None:
        return version
    if not can_make_venv():
        if not sys.platform.startswith("linux"):
            raise SetupError("This Python lacks ensurepip: use one from python.org, then run this again.")
        system_packages.apt_install([f"python{sys.version_info.major}.{sys.version_info.minor}-venv"])
    say(f"Making the virtual environment {venv.name} with Python {platform.python_version()}")
    command = [sys.executable, "-m", "venv", "--clear", str(venv)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    version = venv_version(venv)
    if done.returncode != 0 or version is None:
        raise SetupError(f"{venv.name} could not be made. {explain_failure(done.stdout + done.stderr)}")
    return version


def installed_version(distribution: str, venv: Path = VENV) -> str | None:
    """Give the version of a package inside an environment, without a local part such as ``+cpu``."""
    folders = [str(path) for path in (*venv.glob("lib/python*/site-packages"), venv / "Lib/site-packages")]
    found = next(iter(metadata.distributions(name=distribution, path=folders)), None)
    return found.version.partition("+")[0] if found else None


def pinned_version(constraints: str, distribution: str) -> str:
    """Read the version that a constraints file pins a package to."""
    match = re.search(rf"^{re.escape(distribution)}==(\S+)", constraints, re.MULTILINE | re.IGNORECASE)
    if match is None:
        raise SetupError(f"packaging/constraints.txt pins no version of {distribution}.")
    return match.group(1)


def requirements(pyproject: str, extras: Iterable[str]) -> list[str]:
    """List what a pyproject asks for: its dependencies and those of the named extras."""
    import tomllib  # here, so that an older Python gets as far as the sentence that says it is too old

    project = tomllib.loads(pyproject)["project"]
    wanted: list[str] = list(project["dependencies"])
    for extra in extras:
        wanted += project["optional-dependencies"][extra]
    return wanted


def fingerprint(pyproject: bytes, constraints: bytes, python_version: str, root: Path = ROOT) -> str:
    """Digest all that decides what an environment holds, its extras aside.

    The root is part of it because the editable install points there: a moved checkout is set up anew.
    """
    digest = hashlib.sha256()
    for part in (pyproject, constraints, python_version.encode(), os.fsencode(root)):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def read_stamp(path: Path) -> dict[str, Any]:
    """Read what an environment was filled from; empty where it never was, or not to the end."""
    try:
        stamp = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def write_stamp(path: Path, inputs: str, extras: Collection[str]) -> None:
    """Note, in one step, what an environment was filled from."""
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps({"inputs": inputs, "extras": sorted(extras)}), "utf-8")
    draft.replace(path)


def is_current(stamp: Mapping[str, Any], inputs: str, extras: Collection[str]) -> bool:
    """Tell whether an environment holds these extras, filled from the same inputs."""
    return stamp.get("inputs") == inputs and set(extras) <= set(stamp.get("extras", []))


def explain_failure(output: str) -> str:
    """Turn what pip or venv printed before it failed into one sentence."""
    if "No space left on device" in output:
        return "The disk is full: free some gigabytes and run this again."
    if any(sign in output for sign in NETWORK_FAILURES):
        host = re.search(r"host='([^']+)'", output)
        index = host.group(1) if host else "The package index"
        return f"{index} cannot be reached: check the network and run this again."
    missing = re.search(r"No matching distribution found for ([^\s(]+)", output)
    if missing:
        machine = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
        return f"There is no {missing.group(1)} for {machine}; the tested Python is 3.11."
    errors = [line for line in output.splitlines() if line.lower().startswith("error")]
    return errors[-1] if errors else "It gave no reason."


def progress_line(line: str) -> str | None:
    """Pick what a waiting person wants to know out of one line that pip prints."""
    download = DOWNLOAD_LINE.match(line)
    if download:
        name, size, unit = download.groups()
        if unit == "GB" or float(size) >= WORTH_NAMING_MB:
            return f"  downloading {name.split('-')[0]} ({size} {unit})"
    if line.startswith("Installing collected packages:") and "," in line:
        return f"  installing {line.count(',') + 1} packages"
    return None


def start_reading(command: Sequence[str]) -> subprocess.Popen[str]:
    """Start a Python program whose two outputs are read as one, line by line."""
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


def run_pip(*arguments: str, venv: Path = VENV) -> None:
    """Run the environment's pip, saying only what takes long; all it prints goes to ``setup.log``.

    Raises
    ------
    SetupError
        If pip fails.
    """
    command = [str(venv_python(venv)), "-m", "pip", "--disable-pip-version-check", "--no-input"]
    command += [*arguments, "--progress-bar", "off"]
    output: list[str] = []
    log_path = venv / "setup.log"
    with log_path.open("a", encoding="utf-8") as log, start_reading(command) as pip:
        assert pip.stdout is not None
        for line in pip.stdout:
            output.append(line)
            log.write(line)
            progress = progress_line(line)
            if progress:
                say(progress)
    if pip.returncode != 0:
        where = os.path.relpath(log_path)
        raise SetupError(f"pip failed. {explain_failure(''.join(output))} All it said is in {where}.")


def has_nvidia_driver() -> bool:
    """Tell whether an NVIDIA driver is on this machine."""
    traces = (Path("/proc/driver/nvidia"), Path("/dev/nvidia0"))
    return shutil.which("nvidia-smi") is not None or any(path.exists() for path in traces)


def would_bring_cuda(report: Mapping[str, Any]) -> bool:
    """Read from pip's installation report whether CUDA packages would come along.

    Parameters
    ----------
    report
        What ``pip install --report`` writes; with ``--no-deps`` too, since each package's own
        requirements are in it.

    Returns
    -------
    bool
        True if a package to be installed, or one that it needs outside an extra, is a CUDA package.
    """
    names: list[str] = []
    for item in report.get("install", []):
        package = item["metadata"]
        names.append(package["name"])
        names += [need for need in package.get("requires_dist", []) if "extra ==" not in need]
    return any(CUDA_NAME.match(name) for name in names)


def plain_torch_report(version: str, venv: Path = VENV) -> dict[str, Any]:
    """Ask pip what a plain install of torch would bring, without installing it.

    ``--no-deps`` on purpose: torch's own metadata names all that matters, and from an index that
    serves no separate metadata files pip would otherwise fetch gigabytes only to look into them.
    """
    path = venv / "torch-report.json"
    run_pip("install", "--dry-run", "--no-deps", "--report", str(path), f"torch=={version}", venv=venv)
    report: dict[str, Any] = json.loads(path.read_text("utf-8"))
    path.unlink()
    return report


def ensure_cpu_torch(version: str, venv: Path = VENV) -> None:
    """Where no NVIDIA driver is and a plain install would bring CUDA, install torch's CPU build.

    Everywhere else this does nothing, and torch comes with the other packages. Only Linux is asked:
    the index that pip uses by default has CPU builds for the other systems.
    """
    if not sys.platform.startswith("linux") or has_nvidia_driver():
        return
    if installed_version("torch", venv) == version:
        return
    say("No NVIDIA driver here: looking whether torch would bring CUDA packages")
    if would_bring_cuda(plain_torch_report(version, venv)):
        say("  it would: taking the CPU build from torch's own index")
        run_pip("install", "--no-deps", "--index-url", TORCH_CPU_INDEX, f"torch=={version}", venv=venv)
    else:
        say("  it would not")


def check_disk(folder: Path) -> None:
    """Refuse early where the packages cannot fit.

    Raises
    ------
    SetupError
        If the free space is below what they take.
    """
    needed = NEEDED_WITH_CUDA_BYTES if has_nvidia_driver() else NEEDED_BYTES
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise SetupError(
            f"The disk of {folder} has {free / GIB:.1f} GiB free, and the packages need about "
            f"{needed / GIB:.0f} GiB: free some space and run this again."
        )


def install(extras: Collection[str], venv: Path = VENV) -> None:
    """Install the tested versions, then the project itself, editable."""
    (venv / "setup.log").unlink(missing_ok=True)
    pins = CONSTRAINTS.read_text("utf-8")
    pip, setuptools, torch = (pinned_version(pins, name) for name in ("pip", "setuptools", "torch"))
    # An older pip downloads whole wheels in a dry run.
    if installed_version("pip", venv) != pip:
        run_pip("install", f"pip=={pip}", venv=venv)
    ensure_cpu_torch(torch, venv)
    say("Installing the pinned Python packages")
    wanted: Sequence[str] = requirements(PYPROJECT.read_text("utf-8"), sorted(extras))
    run_pip("install", "-c", str(CONSTRAINTS), f"setuptools=={setuptools}", *wanted, venv=venv)
    run_pip("install", "--no-deps", "--no-build-isolation", "-e", str(ROOT), venv=venv)


def ensure(extras: Collection[str]) -> None:
    """Bring the environment to the pinned state, or leave it alone where it is there.

    Raises
    ------
    SetupError
        If it cannot be made or filled.
    """
    if venv_version() is None:
        check_disk(ROOT)
    version = ensure_venv()
    stamp_path = VENV / "setup-stamp.json"
    stamp = read_stamp(stamp_path)
    inputs = fingerprint(PYPROJECT.read_bytes(), CONSTRAINTS.read_bytes(), version)
    if is_current(stamp, inputs, extras):
        return
    # Extras that were asked for earlier stay, so that `run` after `test` does not undo it.
    together = {*extras, *stamp.get("extras", [])}
    stamp_path.unlink(missing_ok=True)
    install(together)
    write_stamp(stamp_path, inputs, together)
