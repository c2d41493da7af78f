"""Arguments to window, trace, screenshot, bench, inspect or doctor."""

from __future__ import annotations

import os

# Before numpy is imported anywhere: threaded BLAS collapses when it competes with the model's threads,
# and the window itself needs one. torch's own threads are set when a model is loaded.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import importlib
import sys
from collections.abc import Sequence

from explorer import __version__
from explorer.core.secrets import scrub

DESCRIPTION = "Watch a real transformer work. Without a command: the window."


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; returns the exit status (0, or 2 for bad input, said in one line)."""
    arguments = make_parser().parse_args(argv)
    command = importlib.import_module(f"explorer.commands.{arguments.command or 'window'}")
    try:
        status = command.run(arguments)
    except (ValueError, OSError) as error:
        # What a person did wrong; anything else is our fault and shows its traceback.
        sys.stderr.write(f"explorer: {scrub(str(error))}\n")
        return 2
    assert isinstance(status, int)
    return status


def make_parser() -> argparse.ArgumentParser:
    """The command line's grammar."""
    parser = argparse.ArgumentParser(prog="explorer", description=DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    _add_model_options(parser)
    _add_language_options(parser)
    _add_window_options(parser)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    trace = commands.add_parser("trace", help="run the model without a window and write everything to files")
    _add_model_options(trace)
    _add_language_options(trace)
    _add_sampling_options(trace)
    trace.add_argument(
        "--out", required=True, metavar="DIR", help="folder for run.json, *.npz and tokens.csv"
    )

    screenshot = commands.add_parser("screenshot", help="a picture of the window after a run, with no screen")
    _add_model_options(screenshot)
    _add_language_options(screenshot)
    _add_window_options(screenshot)
    _add_sampling_options(screenshot)
    screenshot.add_argument("--out", required=True, metavar="FILE.png", help="where the picture goes")
    screenshot.add_argument(
        "--panel",
        choices=("tokens", "generation", "embedding", "attention", "softmax"),
        help="this panel alone",
    )
    screenshot.add_argument("--size", default="1366x768", metavar="WxH", help="in pixels (%(default)s)")
    screenshot.add_argument(
        "--select",
        default="",
        metavar="REFS",
        help="tokens to select, e.g. source:3 or source:3,generated:3 for a pair",
    )
    screenshot.add_argument(
        "--view",
        choices=("steps", "tree", "beams", "layers", "inside", "compare"),
        help="view of the generation panel to open; beams are searched for first",
    )
    screenshot.add_argument("--head", default="", metavar="KIND:LAYER:HEAD", help="attention head to open")

    bench = commands.add_parser("bench", help="what the program costs here, beside what others cost")
    bench.add_argument("--json", metavar="FILE", help="write the figures there too")
    bench.add_argument("--quick", action="store_true", help="small sizes, few rounds")
    bench.add_argument(
        "--only",
        nargs="+",
        metavar="NAME",
        help="these subjects alone: embedding, generation, attention, softmax, window",
    )

    inspect = commands.add_parser("inspect", help="what a model is and would take, without loading it")
    inspect.add_argument("name", metavar="M", help="bundled name, local folder, or hub id")
    commands.add_parser("doctor", help="versions, devices, memory, OpenGL and bundled models")
    return parser


def _add_model_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", metavar="M", help="bundled name, local folder, or hub id (default: fr-en)")
    parser.add_argument("--text", metavar="T", help="what the model reads")
    parser.add_argument(
        "--device",
        metavar="D",
        help="cpu, cuda, cuda:1, mps, or auto for several together (default: the fastest there is)",
    )
    parser.add_argument(
        "--dtype",
        default="auto",
        choices=("auto", "float32", "bfloat16", "float16", "int8", "int4"),
        help="numbers that the weights are held in (%(default)s)",
    )
    parser.add_argument(
        "--allow-pickle",
        action="store_true",
        help="read weights from pytorch_model.bin too, which can run code; for sources you trust",
    )


def _add_language_options(parser: argparse.ArgumentParser) -> None:
    for name, does in (("source", "reads"), ("target", "writes")):
        parser.add_argument(
            f"--{name}-language",
            metavar="CODE",
            help=f"what a model of many languages {does}, by its own code, e.g. fr, fr_XX or fra_Latn",
        )


def _add_window_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--classroom", action="store_true", help="larger, for a projector")
    parser.add_argument("--scheme", choices=("system", "light", "dark"), help="colours")


def _add_sampling_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("sampling", "Greedy unless one of these is given.")
    group.add_argument(
        "--temperature", type=float, metavar="X", help="0 is greedy; 1 leaves the logits alone"
    )
    group.add_argument("--top-k", type=int, metavar="K", help="keep the K most likely tokens; 0 is off")
    group.add_argument("--top-p", type=float, metavar="P", help="keep the smallest set of mass P; 1 is off")
    group.add_argument("--min-p", type=float, metavar="P", help="keep tokens P times as likely as the best")
    group.add_argument("--seed", type=int, metavar="N", help="seed of the draws")
    group.add_argument("--max-new-tokens", type=int, metavar="N", help="stop after so many tokens")


if __name__ == "__main__":
    sys.exit(main())
