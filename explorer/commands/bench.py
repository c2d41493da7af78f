"""``explorer bench``: what the program costs here, beside what others cost, as ratios."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from explorer import __version__
from explorer.app.settings import Settings, write_atomically
from explorer.benchmarks import SUBJECTS
from explorer.commands.application import make_application, no_screen

if TYPE_CHECKING:
    from explorer.benchmarks.figures import Figure, Plan, Skip

_WIDTH = 88


def run(arguments: argparse.Namespace) -> int:
    """Measure, print a table, and with ``--json`` write the figures.

    Returns 0, or 1 where results that should be equal were not.

    Raises
    ------
    ValueError, OSError
        An unknown subject, or a file that cannot be written.
    """
    subjects = chosen(arguments.only)
    out = None if arguments.json is None else Path(arguments.json)
    if out is not None:
        check_writable(out)
    if no_screen():
        os.environ["QT_QPA_PLATFORM"] = "offscreen"
    app = make_application()
    import torch
    import transformers

    from explorer.benchmarks.figures import Figure, Plan

    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    threads = Settings().thread_count()
    torch.set_num_threads(threads)
    devices = ("cpu", "cuda:0") if torch.cuda.is_available() else ("cpu",)
    machine = machine_facts(threads, devices)
    print(", ".join(f"{name.replace('_', ' ')} {value}" for name, value in machine.items()))
    print("Medians of sides run in turn; a ratio is the median of the rounds' ratios.")
    figures: list[Figure] = []
    skips: list[Skip] = []
    with tempfile.TemporaryDirectory(prefix="explorer-bench-") as folder:
        plan = Plan(app, Path(folder), devices, threads, arguments.quick)
        for found in measured(subjects, plan):
            for line in lines_of(found):
                print(line, flush=True)
            if isinstance(found, Figure):
                figures.append(found)
            else:
                skips.append(found)
    for line in side_by_side(figures):
        print(line)
    if out is not None:
        write_atomically(out, as_json(machine, arguments.quick, figures, skips).encode())
        print(f"\nwritten to {out}")
    return 0 if all(agreement.equal for figure in figures for agreement in figure.agreements) else 1


def chosen(names: Sequence[str] | None) -> tuple[str, ...]:
    """The subjects to measure, in their order; all when none are named.

    Raises
    ------
    ValueError
        A name is no subject.
    """
    unknown = [name for name in names or () if name not in SUBJECTS]
    if unknown:
        raise ValueError(f"--only: there is no subject {unknown[0]!r}; take some of {', '.join(SUBJECTS)}.")
    return tuple(subject for subject in SUBJECTS if not names or subject in names)


def check_writable(out: Path) -> None:
    """See that ``out`` can be written before anything long begins.

    Raises
    ------
    ValueError, OSError
        It is a folder, or stands in a folder that is missing or cannot be written.
    """
    if out.is_dir():
        raise ValueError(f"{out} is a folder; give --json the name of a file.")
    if not out.parent.is_dir() or not os.access(out.parent, os.W_OK | os.X_OK):
        raise OSError(f"The folder {out.parent} does not exist or cannot be written.")


def measured(subjects: Sequence[str], plan: Plan) -> Iterator[Figure | Skip]:
    """Figures as they come."""
    with warnings.catch_warnings():
        # What is compared with may warn of its own ways, e.g. of eager attention.
        warnings.simplefilter("ignore")
        for subject in subjects:
            print(f"\n{subject}")
            yield from importlib.import_module(f"explorer.benchmarks.{subject}").measure(plan)


def machine_facts(threads: int, devices: Sequence[str]) -> dict[str, Any]:
    """What the figures depend on, and nothing that names the machine or its people."""
    import torch
    import transformers
    from PySide6.QtGui import QGuiApplication

    names = [torch.cuda.get_device_name(name) for name in devices if name != "cpu"]
    return {
        "explorer": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "cores": os.cpu_count(),
        "processor": platform.machine(),
        "threads": threads,
        "devices": ["cpu", *names],
        "qt_platform": QGuiApplication.platformName(),
    }


def as_json(machine: dict[str, Any], quick: bool, figures: Sequence[Figure], skips: Sequence[Skip]) -> str:
    """All of it as one JSON text."""
    return json.dumps(
        {
            "machine": machine,
            "quick": quick,
            "figures": [figure.as_json() for figure in figures],
            "skipped": [
                {"subject": skip.subject, "name": skip.name, "reason": skip.reason} for skip in skips
            ],
        },
        indent=1,
        ensure_ascii=False,
    )


def side_by_side(figures: Sequence[Figure]) -> Iterator[str]:
    """The program's own figures on the CPU and on CUDA beside each other; nothing without both."""
    on_cpu = {(figure.subject, figure.name): figure for figure in figures if figure.device == "cpu"}
    pairs = [
        (on_cpu[figure.subject, figure.name], figure)
        for figure in figures
        if figure.device != "cpu" and (figure.subject, figure.name) in on_cpu
    ]
    if not pairs:
        return
    devices = ", ".join(dict.fromkeys(figure.device for _, figure in pairs))
    yield f"\n{f'cpu beside {devices}'.ljust(_WIDTH)}{'cpu':>12}{'cuda':>12}"
    for here, there in pairs:
        amount = milliseconds if here.unit == "ms" else _bytes
        share = f"   {here.value / there.value:.3g} times" if here.unit == "ms" else ""
        yield f"{_line(2, here.name, amount(here.value))}{amount(there.value):>12}{share}"


def lines_of(found: Figure | Skip) -> Iterator[str]:
    """The table's lines for one figure: its own, one a side that it is compared with, and what is to say."""
    from explorer.benchmarks.figures import Skip

    if isinstance(found, Skip):
        yield _line(2, found.name, "skipped")
        yield f"    {found.reason}"
        return
    amount = milliseconds if found.unit == "ms" else _bytes
    name = found.name if found.device == "cpu" else f"{found.name}, {found.device}"
    yield _line(2, name, amount(found.value))
    for other, value in found.others.items():
        share = f"   {ratio_text(found.ratios[other], found.unit)}" if other in found.ratios else ""
        yield _line(4, other, amount(value)) + share
    if found.target is not None:
        limit = (
            f"{found.target.most:g} of {found.target.of}" if found.target.of else amount(found.target.most)
        )
        yield f"    target at most {limit}: {'met' if found.met else 'missed'}"
    for agreement in found.agreements:
        verdict = "the same" if agreement.equal else "NOT THE SAME"
        yield f"    {verdict}: {agreement.what}: {agreement.difference:.2g}, at most {agreement.tolerance:g}"


def _line(indent: int, text: str, amount: str) -> str:
    return f"{' ' * indent}{text}".ljust(_WIDTH) + amount.rjust(12)


def milliseconds(value: float) -> str:
    """A time with three digits that say something, in ms or s."""
    if value >= 1000.0:
        return f"{value / 1000.0:.2f} s"
    return f"{value:.3g} ms" if value < 100.0 else f"{value:.0f} ms"


def _bytes(value: float) -> str:
    return f"{value:,.0f} bytes"


def ratio_text(ratio: float, unit: str = "ms") -> str:
    """Our share of what the other took, in words."""
    if unit == "bytes":
        return f"ours is 1/{1.0 / ratio:.3g} of it" if ratio < 0.95 else f"ours is {ratio:.2f} times that"
    return f"{1.0 / ratio:.3g} times as fast" if ratio < 0.95 else f"{ratio:.2f} times as much"
