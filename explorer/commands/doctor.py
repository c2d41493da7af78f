"""``explorer doctor``: what this machine has, for a person and for a bug report."""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import shutil
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import psutil
from PySide6.QtGui import QGuiApplication, QOffscreenSurface, QOpenGLContext

from explorer import __version__
from explorer.app.settings import settings_file
from explorer.commands.application import make_application, no_screen
from explorer.resources import bundled_checksums, bundled_models, resources_folder

PACKAGES = (
    "PySide6-Essentials",
    "pyqtgraph",
    "PyOpenGL",
    "torch",
    "transformers",
    "accelerate",
    "huggingface_hub",
    "safetensors",
    "tokenizers",
    "sentencepiece",
    "protobuf",
    "numpy",
    "scikit-learn",
)


def run(_: argparse.Namespace) -> int:
    """Print versions, devices, memory, OpenGL, folders, and the bundled models with their checksums."""
    for heading, lines in (
        ("Program", _program()),
        ("Machine", _machine()),
        ("Torch devices", _devices()),
        ("Window system", _window_system()),
        ("Folders", _folders()),
        ("Bundled models", _models()),
    ):
        print(heading)
        for line in lines:
            print(f"  {line}")
    return 0


def _program() -> Iterator[str]:
    yield f"transformer-explorer {__version__}"
    yield f"Python {platform.python_version()}"
    for package in PACKAGES:
        try:
            yield f"{package} {metadata.version(package)}"
        except metadata.PackageNotFoundError:
            yield f"{package} is missing"


def _machine() -> Iterator[str]:
    memory = psutil.virtual_memory()
    yield platform.platform()
    yield f"{os.cpu_count()} cores"
    yield f"{_gigabytes(memory.total)} of memory, {_gigabytes(memory.available)} available"


def _devices() -> Iterator[str]:
    import torch

    from explorer.model import devices

    for device in devices.devices():
        free, total = _gigabytes(device.free_bytes), _gigabytes(device.total_bytes)
        kind = device.name.split(":")[0]
        numbers = [choice.name for choice in devices.precision_choices(kind) if not choice.unavailable]
        yield f"{device.name}: {device.description}, {free} free of {total}; {', '.join(numbers[1:])}"
    if not torch.cuda.is_available():
        yield f"no CUDA device (torch {torch.__version__}, built for CUDA {torch.version.cuda or 'none'})"
    yield f"8-bit and 4-bit: {devices.why_not_quantized('cuda') or 'by bitsandbytes'}"


def _window_system() -> Iterator[str]:
    if no_screen():
        os.environ["QT_QPA_PLATFORM"] = "offscreen"
    make_application()
    yield f"Qt platform {QGuiApplication.platformName()}"
    context = QOpenGLContext()
    surface = QOffscreenSurface()
    surface.create()
    if not context.create() or not context.makeCurrent(surface):
        yield "OpenGL: none here; the embedding panel draws without it"
        return
    from OpenGL import GL

    for name, key in (("OpenGL", GL.GL_VERSION), ("renderer", GL.GL_RENDERER)):
        yield f"{name}: {GL.glGetString(key).decode()}"
    context.doneCurrent()


def _folders() -> Iterator[str]:
    from huggingface_hub import constants

    from explorer.model import hub, network

    cache = Path(constants.HF_HUB_CACHE)
    yield f"settings: {settings_file()}"
    held = ", ".join(hub.cached_models()) or "no model"
    there = next(path for path in (cache, *cache.parents) if path.exists())
    yield f"model cache: {cache} ({held}), {_gigabytes(shutil.disk_usage(there).free)} free on its disk"
    yield f"hub: {network.offline_reason() or f'{constants.ENDPOINT} can be reached'}"


def _models() -> Iterator[str]:
    for name in bundled_models():
        weights = resources_folder() / "models" / name / "model.safetensors"
        if not weights.is_file():
            yield f"{name}: the weights are missing"
            continue
        found = _checksum(weights)
        verdict = {None: "of no known checksum", found: "as released"}.get(
            bundled_checksums().get(name), "NOT as released"
        )
        yield f"{name}: {weights.stat().st_size / 1e6:.1f} MB, sha256 {found}, {verdict}"


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _gigabytes(count: float) -> str:
    return f"{count / 2**30:.1f} GiB"
