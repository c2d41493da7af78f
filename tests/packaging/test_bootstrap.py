"""The two commands of the README: what they decide before and after they call pip and apt-get."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "packaging"


@pytest.fixture
def bootstrap(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module, its neighbours importable as they are when it runs."""
    monkeypatch.syspath_prepend(str(FOLDER))
    spec = importlib.util.spec_from_file_location("bootstrap", FOLDER / "bootstrap.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "bootstrap", module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def system(bootstrap: ModuleType) -> ModuleType:
    return bootstrap.system_packages


@pytest.fixture
def python(bootstrap: ModuleType) -> ModuleType:
    return bootstrap.python_packages


@pytest.fixture
def quiet_set_up(bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """A set-up that succeeds at once; the list tells which extras it was asked for."""
    asked: list[object] = []
    monkeypatch.setattr(bootstrap, "set_up", asked.append)
    return asked


def report(name: str, *requires: str) -> dict[str, object]:
    return {"install": [{"metadata": {"name": name, "version": "2.13.0", "requires_dist": list(requires)}}]}


# System packages


def test_that_only_packages_the_probe_does_not_find_are_named_in_order(system: ModuleType) -> None:
    absent = {"libxcb-cursor0", "libegl1"}
    missing = system.missing_packages(system.FOR_WINDOW, lambda package: package.name not in absent)
    assert missing == ["libegl1", "libxcb-cursor0"]


def test_that_nothing_is_installed_when_nothing_is_missing(
    system: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system, "apt_install", lambda names: pytest.fail(f"installed {names}"))
    assert system.ensure([system.SystemPackage("shell", commands=("python3",))]) is None


def test_that_a_library_or_command_that_does_not_exist_makes_its_package_missing(system: ModuleType) -> None:
    library = system.SystemPackage("a", libraries=("libno-such-thing.so.99",))
    command = system.SystemPackage("b", commands=("no-such-command-anywhere",))
    assert system.missing_packages([library, command]) == ["a", "b"]


def test_that_any_outline_font_serves(system: ModuleType, tmp_path: Path) -> None:
    assert not system.any_font_is_installed([tmp_path, tmp_path / "absent"])
    (tmp_path / "family").mkdir()
    (tmp_path / "family" / "Some.TTF").touch()
    assert system.any_font_is_installed([tmp_path])


def test_that_apt_gets_exactly_the_missing_packages_after_one_update(system: ModuleType) -> None:
    update, install = system.apt_commands(["sudo", "-n"], ["xvfb", "xauth"])
    assert update[:2] == ["sudo", "-n"]
    assert update[-1] == "update"
    assert install[install.index("install") :] == [
        "install",
        "-y",
        "--no-install-recommends",
        "xvfb",
        "xauth",
    ]


def test_that_without_root_the_command_to_type_is_one_line(
    system: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system, "root_prefix", lambda: None)
    monkeypatch.setattr(system.shutil, "which", lambda name: "/usr/bin/apt-get")
    monkeypatch.setattr(system.os, "geteuid", lambda: 1000)
    line = system.ensure([system.SystemPackage("libegl1", libraries=("libno-such-thing.so.99",))])
    assert line.endswith("sudo apt-get update && sudo apt-get install -y libegl1")
    assert "\n" not in line


# The screen


@pytest.mark.parametrize("name", ["DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"])
def test_that_one_variable_is_enough_for_a_screen_on_linux(bootstrap: ModuleType, name: str) -> None:
    assert bootstrap.has_screen("linux", {name: "x"})
    assert not bootstrap.has_screen("linux", {name: ""})


@pytest.mark.parametrize("system_name", ["darwin", "win32"])
def test_that_other_systems_always_have_a_screen(bootstrap: ModuleType, system_name: str) -> None:
    assert bootstrap.has_screen(system_name, {})


@pytest.mark.usefixtures("quiet_set_up")
def test_that_run_without_a_screen_says_so_in_one_line_and_points_at_trace_and_screenshot(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bootstrap, "has_screen", lambda *_: False)
    assert bootstrap.main(["run", "--model", "fr-en"]) == bootstrap.EXIT_NO_SCREEN == 2
    output = capsys.readouterr().out
    assert output.count("\n") == 1
    assert "no screen" in output
    assert "-m explorer trace " in output
    assert "-m explorer screenshot " in output


@pytest.mark.parametrize("arguments", [["trace", "--text", "x"], ["screenshot"], ["doctor"], ["--help"]])
def test_that_commands_without_a_window_need_no_screen(bootstrap: ModuleType, arguments: list[str]) -> None:
    assert not bootstrap.opens_window(arguments)
    assert bootstrap.opens_window(["--model", "trace"])


# CUDA


def test_that_a_report_with_cuda_requirements_is_seen(python: ModuleType) -> None:
    linux = 'nvidia-cudnn-cu13==9.20.0.48; platform_system == "Linux"'
    assert python.would_bring_cuda(report("torch", "filelock", linux))
    assert python.would_bring_cuda(report("torch", "cuda-toolkit[cublas]==13.0.3"))
    assert python.would_bring_cuda(report("torch", "triton==3.7.1"))
    assert python.would_bring_cuda(report("nvidia_nccl_cu13"))


def test_that_a_cpu_report_brings_no_cuda(python: ModuleType) -> None:
    assert not python.would_bring_cuda(report("torch", "filelock", "tritonclient", 'triton; extra == "x"'))
    assert not python.would_bring_cuda({"install": []})


@pytest.mark.parametrize(
    ("brings_cuda", "expected"), [(True, ["https://download.pytorch.org/whl/cpu"]), (False, [])]
)
def test_that_the_cpu_index_is_used_only_where_cuda_would_come(
    python: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    brings_cuda: bool,
    expected: list[str],
) -> None:
    calls: list[str] = []
    monkeypatch.setattr(python.sys, "platform", "linux")
    monkeypatch.setattr(python, "has_nvidia_driver", lambda: False)
    monkeypatch.setattr(python, "plain_torch_report", lambda *_: {})
    monkeypatch.setattr(python, "would_bring_cuda", lambda _: brings_cuda)
    monkeypatch.setattr(python, "run_pip", lambda *arguments, venv: calls.extend(arguments))
    python.ensure_cpu_torch("2.13.0", tmp_path)
    assert [call for call in calls if call.startswith("https:")] == expected


def test_that_pip_is_not_asked_where_a_driver_is_or_torch_is_installed(
    python: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(python, "plain_torch_report", lambda *_: pytest.fail("asked pip"))
    monkeypatch.setattr(python, "has_nvidia_driver", lambda: True)
    python.ensure_cpu_torch("2.13.0", tmp_path)
    monkeypatch.setattr(python, "has_nvidia_driver", lambda: False)
    dist_info = tmp_path / "lib" / "python3.11" / "site-packages" / "torch-2.13.0+cpu.dist-info"
    dist_info.mkdir(parents=True)
    (dist_info / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.13.0+cpu\n")
    assert python.installed_version("torch", tmp_path) == "2.13.0"
    python.ensure_cpu_torch("2.13.0", tmp_path)


# The stamp


def test_that_the_fingerprint_changes_with_every_input(python: ModuleType) -> None:
    first = python.fingerprint(b"project", b"torch==2.13.0", "3.11.7", ROOT)
    assert first == python.fingerprint(b"project", b"torch==2.13.0", "3.11.7", ROOT)
    others = {
        python.fingerprint(b"project", b"torch==2.13.1", "3.11.7", ROOT),
        python.fingerprint(b"projects", b"torch==2.13.0", "3.11.7", ROOT),
        python.fingerprint(b"project", b"torch==2.13.0", "3.12.1", ROOT),
        python.fingerprint(b"project", b"torch==2.13.0", "3.11.7", ROOT / "moved"),
        python.fingerprint(b"projecttorch", b"==2.13.0", "3.11.7", ROOT),
    }
    assert first not in others
    assert len(others) == 5


def test_that_an_environment_with_the_test_extra_serves_a_run_but_not_the_other_way(
    python: ModuleType, tmp_path: Path
) -> None:
    stamp = tmp_path / "stamp.json"
    python.write_stamp(stamp, "abc", {"test"})
    assert python.is_current(python.read_stamp(stamp), "abc", ())
    assert not python.is_current(python.read_stamp(stamp), "abc", {"recipe"})
    assert not python.is_current(python.read_stamp(stamp), "changed", ())


@pytest.mark.parametrize("content", ["", "[1]", "{broken"])
def test_that_a_damaged_stamp_means_set_up_again(python: ModuleType, tmp_path: Path, content: str) -> None:
    stamp = tmp_path / "stamp.json"
    stamp.write_text(content)
    assert not python.is_current(python.read_stamp(stamp), "abc", ())


def test_that_a_set_up_is_repeated_only_when_the_constraints_change(
    python: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    installs: list[set[str]] = []
    constraints = tmp_path / "constraints.txt"
    constraints.write_text("torch==2.13.0\n")
    monkeypatch.setattr(python, "VENV", tmp_path)
    monkeypatch.setattr(python, "CONSTRAINTS", constraints)
    monkeypatch.setattr(python, "venv_version", lambda: "3.11.7")
    monkeypatch.setattr(python, "ensure_venv", lambda: "3.11.7")
    monkeypatch.setattr(python, "install", lambda extras: installs.append(set(extras)))
    python.ensure(("test",))
    python.ensure(("test",))
    python.ensure(())
    assert installs == [{"test"}]
    constraints.write_text("torch==2.13.1\n")
    python.ensure(())
    assert installs == [{"test"}, {"test"}]


def test_that_an_interrupted_install_leaves_no_stamp(
    python: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(extras: object) -> None:
        raise KeyboardInterrupt

    stamp = tmp_path / "setup-stamp.json"
    stamp.write_text(json.dumps({"inputs": "old", "extras": []}))
    monkeypatch.setattr(python, "VENV", tmp_path)
    monkeypatch.setattr(python, "venv_version", lambda: "3.11.7")
    monkeypatch.setattr(python, "ensure_venv", lambda: "3.11.7")
    monkeypatch.setattr(python, "install", fail)
    with pytest.raises(KeyboardInterrupt):
        python.ensure(())
    assert not stamp.exists()


# The pins


def test_that_every_direct_dependency_is_pinned(python: ModuleType) -> None:
    pins = python.CONSTRAINTS.read_text("utf-8").replace("_", "-")
    wanted = python.requirements(python.PYPROJECT.read_text("utf-8"), ["test", "recipe"])
    for requirement in wanted:
        name = requirement.partition(">")[0].replace("_", "-")
        assert python.pinned_version(pins, name)


def test_that_the_pins_name_no_local_build_and_no_place(python: ModuleType) -> None:
    lines = python.CONSTRAINTS.read_text("utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert all(pin.count("==") == 1 for pin in pins)
    assert not any(sign in pin for pin in pins for sign in ("+", "@", "/"))


# Words for a person


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("ERROR: [Errno 28] No space left on device", "disk is full"),
        ("NewConnectionError(\"HTTPSConnection(host='pypi.org', port=443)\")", "pypi.org cannot be reached"),
        ("ERROR: No matching distribution found for torch==2.13.0", "There is no torch==2.13.0 for Python"),
        ("something\nERROR: a reason\n", "a reason"),
        ("", "no reason"),
    ],
)
def test_that_a_failure_of_pip_becomes_one_sentence(python: ModuleType, output: str, expected: str) -> None:
    sentence = python.explain_failure(output)
    assert expected in sentence
    assert "\n" not in sentence


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("  Downloading torch-2.13.0-cp311.whl (191.8 MB)", "  downloading torch (191.8 MB)"),
        ("Downloading tqdm-4.70.1-py3-none-any.whl (11.2 MB)", "  downloading tqdm (11.2 MB)"),
        ("Downloading idna-3.20-py3-none-any.whl (0.1 MB)", None),
        ("Installing collected packages: a, b, c", "  installing 3 packages"),
        ("Collecting torch", None),
    ],
)
def test_that_only_what_takes_long_is_said(python: ModuleType, line: str, expected: str | None) -> None:
    assert python.progress_line(line) == expected


@pytest.mark.parametrize(("version", "too_old"), [((3, 10), True), ((3, 11), False), ((4, 0), False)])
def test_that_python_below_3_11_is_too_old(
    bootstrap: ModuleType, version: tuple[int, int], too_old: bool
) -> None:
    assert bootstrap.python_is_too_old(version) is too_old


@pytest.mark.parametrize("arguments", [[], ["runs"], ["setup", "--tests"]])
def test_that_a_wrong_command_line_is_answered_with_code_2(
    bootstrap: ModuleType, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert bootstrap.main(arguments) == 2
    assert capsys.readouterr().err


def test_that_an_expected_failure_is_one_line_without_a_traceback(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bootstrap, "set_up", lambda extras: "Install libegl1.")
    assert bootstrap.main(["setup"]) == 1
    assert capsys.readouterr().err == "Install libegl1.\n"


# The checks


def test_that_pytest_comes_last_with_its_arguments_under_xvfb(bootstrap: ModuleType) -> None:
    *static, last = bootstrap.checks("python", ["-k", "tokens"], "linux")
    assert [check.name for check in static] == ["ruff check", "ruff format", "mypy"]
    assert last.command[0] == "xvfb-run"
    assert "QT_QPA_PLATFORM=xcb" in last.command
    assert last.command[-5:] == ("python", "-m", "pytest", "-k", "tokens")
    assert bootstrap.checks("python", [], "darwin")[-1].command == ("python", "-m", "pytest")


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ({}, 0),
        ({"mypy": 1}, 1),
        ({"pytest": 5}, 5),
        ({"ruff check": 1, "pytest": 2}, 2),
    ],
)
def test_that_any_failed_check_fails_the_run_and_all_of_them_run(
    bootstrap: ModuleType,
    quiet_set_up: list[object],
    monkeypatch: pytest.MonkeyPatch,
    codes: dict[str, int],
    expected: int,
) -> None:
    ran: list[str] = []

    def fake(check: object, environment: dict[str, str]) -> int:
        name: str = check.name  # type: ignore[attr-defined]
        ran.append(name)
        return codes.get(name, 0)

    monkeypatch.setattr(bootstrap, "run_check", fake)
    assert bootstrap.main(["test"]) == expected
    assert ran == ["ruff check", "ruff format", "mypy", "pytest"]
    assert quiet_set_up == [("test",)]


@pytest.mark.parametrize(("cores", "threads"), [(1, "1"), (2, "1"), (4, "3"), (64, "4")])
def test_that_the_checks_leave_a_core_free_and_the_network_alone(
    bootstrap: ModuleType, cores: int, threads: str
) -> None:
    environment = bootstrap.test_environment({"PATH": "/bin", "HF_HUB_OFFLINE": "0"}, cores)
    assert environment == {
        "PATH": "/bin",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
    }
