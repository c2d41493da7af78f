"""Downloads, against a hub on this machine: progress, cancel, resume, and what is refused."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

import explorer
from explorer.__main__ import main
from explorer.core.model_facts import DownloadProgress
from explorer.model import hub, network
from explorer.model.errors import CancelledError, ModelError, OfflineError
from explorer.model.inspection import inspect
from tests.model import checkpoints
from tests.model.fake_hub import COMMIT, REPO, FakeHub, serve


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of some 5 MB, with files that nobody needs beside it."""
    folder = tmp_path_factory.mktemp("stored")
    checkpoints.save(lambda: checkpoints.marian(encoder_ffn_dim=15_000), folder)
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n# A model\n")
    (folder / "model.onnx").write_bytes(b"x" * 1_000_000)
    (folder / "training_args.bin").write_bytes(b"x" * 100)
    return folder


@pytest.fixture
def served(stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    folder = Path(shutil.copytree(stored, tmp_path / "served"))
    with serve(folder, tmp_path / "cache", monkeypatch) as fake:
        yield fake


def test_that_a_model_is_fetched_into_the_standard_cache_and_runs(served: FakeHub, tmp_path: Path) -> None:
    lm = explorer.load(REPO, device="cpu")
    assert lm.folder == tmp_path / "cache" / "models--someone--some-model" / "snapshots" / COMMIT
    assert lm.generate("the cat").finish(max_new_tokens=3).token_ids
    assert not (lm.folder / "model.onnx").exists()
    asked = len(served.asked)
    assert explorer.load(REPO, device="cpu").folder == lm.folder
    assert len(served.asked) == asked, "what is cached is not asked for again"


def test_that_progress_grows_to_the_whole_and_names_files_and_speed(served: FakeHub) -> None:
    served.seconds_per_chunk = 0.005
    seen: list[DownloadProgress] = []
    remote = hub.look_up(REPO)
    hub.download(remote, report=seen.append)
    done = [progress.done_bytes for progress in seen]
    assert done == sorted(done)
    assert done[-1] == remote.total_bytes == remote.download_bytes
    assert len([p for p in seen if p.file == "model.safetensors"]) > 2
    assert any(p.bytes_per_second > 0 and p.seconds_left is not None for p in seen)
    assert hub.look_up(REPO).download_bytes == 0


def test_that_a_cancelled_download_ends_soon_and_goes_on_where_it_was(
    served: FakeHub, stored: Path, tmp_path: Path
) -> None:
    served.seconds_per_chunk = 0.01
    cancelled = threading.Event()

    def cancel_in_the_middle(progress: DownloadProgress) -> None:
        if progress.file == "model.safetensors" and progress.fraction > 0.3:
            cancelled.set()

    remote = hub.look_up(REPO)
    with pytest.raises(CancelledError):
        hub.download(remote, report=cancel_in_the_middle, cancelled=cancelled)
    assert hub.locate(REPO) is None
    (partial,) = (tmp_path / "cache").rglob("*.partial")
    kept = partial.stat().st_size
    size = (stored / "model.safetensors").stat().st_size
    assert 0.2 * size < kept < size
    again = hub.look_up(REPO)
    assert again.download_bytes < remote.download_bytes - kept // 2
    served.seconds_per_chunk = 0.0
    folder = hub.download(again)
    assert served.sent("GET", "model.safetensors") == ["", f"bytes={kept}-"]
    assert (folder / "model.safetensors").read_bytes() == (stored / "model.safetensors").read_bytes()
    assert not list((tmp_path / "cache").rglob("*.partial"))


def test_that_a_file_that_came_out_damaged_is_refused(served: FakeHub, tmp_path: Path) -> None:
    served.damage = True
    with pytest.raises(ModelError, match="damaged"):
        hub.resolve(REPO)
    assert not list((tmp_path / "cache").rglob("*.partial"))
    served.damage = False
    assert hub.resolve(REPO).is_dir()


def test_that_looking_at_a_model_fetches_its_config_alone(served: FakeHub, tmp_path: Path) -> None:
    facts = inspect(REPO)
    assert (facts.place, facts.family, facts.architecture) == ("hub", "encoder-decoder", "MarianMTModel")
    assert facts.licence == "apache-2.0"
    whole = sum((served.folder / f.name).stat().st_size for f in hub.look_up(REPO).files)
    assert facts.download_bytes == whole
    assert {path.name for path in (tmp_path / "cache").rglob("snapshots/*/*")} == {"config.json"}
    lm = explorer.load(REPO, device="cpu")
    assert facts.parameters == lm.info.parameter_count
    assert facts.bytes_by_dtype["float32"] == lm.info.resident_bytes
    assert inspect(REPO).place == "cache"


@pytest.mark.parametrize(
    ("status", "says"), [(404, "has no model called"), (503, "status 503"), (429, "status 429")]
)
def test_that_a_refusal_of_the_hub_is_one_sentence(served: FakeHub, status: int, says: str) -> None:
    served.status = status
    with pytest.raises(ModelError, match=says):
        hub.look_up(REPO)


def test_that_a_gated_model_says_how_to_get_in(served: FakeHub) -> None:
    served.gated = True
    with pytest.raises(ModelError, match="accepted its terms"):
        hub.resolve(REPO)


def test_that_pickles_are_not_even_fetched_unless_allowed(served: FakeHub) -> None:
    (served.folder / "model.safetensors").unlink()
    model = checkpoints.marian(encoder_ffn_dim=15_000)
    torch.save(model.state_dict(), served.folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="pickled"):
        hub.resolve(REPO)
    assert not served.sent("GET", "pytorch_model.bin")
    assert inspect(REPO).pickled
    assert explorer.load(REPO, device="cpu", allow_pickle=True).info.family == "encoder-decoder"


def test_that_a_disk_that_is_too_full_is_found_before_anything_is_fetched(
    served: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1))
    with pytest.raises(ModelError, match="to download, but the disk"):
        hub.resolve(REPO)


def test_that_offline_by_choice_is_found_at_once(served: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(OfflineError, match="HF_HUB_OFFLINE"):
        hub.resolve(REPO)
    assert "HF_HUB_OFFLINE" in network.offline_reason()
    assert not served.asked


@pytest.mark.parametrize("address", ["http://127.0.0.1:1", "http://no-such-host.invalid"])
def test_that_an_unreachable_hub_is_found_within_seconds(
    served: FakeHub, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", address)
    started = time.monotonic()
    with pytest.raises(OfflineError, match="offline"):
        hub.resolve(REPO)
    # The probe gives up after three; the library alone would try for minutes.
    assert time.monotonic() - started < 20
    assert "offline" in network.offline_reason()


def test_that_a_line_that_breaks_says_that_what_was_fetched_is_kept(
    served: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    import httpx2

    def broken(*_: object, **__: object) -> None:
        raise httpx2.ReadTimeout("too slow")

    monkeypatch.setattr("huggingface_hub.file_download.http_get", broken)
    with pytest.raises(OfflineError, match="kept"):
        hub.resolve(REPO)


def test_that_a_half_fetched_model_counts_as_missing(served: FakeHub, tmp_path: Path) -> None:
    folder = hub.resolve(REPO)
    assert hub.locate(REPO) == folder
    (folder / "model.safetensors").unlink()
    assert hub.locate(REPO) is None


def test_that_a_local_name_needs_no_hub(served: FakeHub, checkpoint: Callable[[str], Path]) -> None:
    assert hub.resolve("fr-en").name == "fr-en"
    assert hub.resolve(str(checkpoint("t5"))) == checkpoint("t5")
    assert not served.asked


def test_that_the_command_line_tells_how_far_a_download_is(
    served: FakeHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["trace", "--model", REPO, "--text", "the cat", "--out", str(tmp_path / "run")]) == 0
    said = capsys.readouterr()
    assert f"{REPO}: model.safetensors, " in said.err
    assert " of 8.0 MB" in said.err
    assert (tmp_path / "run" / "run.json").is_file()
    assert main(["trace", "--model", REPO, "--text", "the cat", "--out", str(tmp_path / "again")]) == 0
    assert capsys.readouterr().err == ""


def test_that_looking_and_loading_take_turns(checkpoint: Callable[[str], Path]) -> None:
    folders = [str(checkpoint(name)) for name in ("llama", "marian", "bert", "gpt2")]
    expected = {folder: inspect(folder) for folder in folders}
    problems: list[BaseException] = []

    def work(task: Callable[[str], object]) -> None:
        try:
            for folder in folders * 3:
                task(folder)
        except BaseException as error:  # noqa: BLE001 - told below
            problems.append(error)

    def look(folder: str) -> None:
        assert inspect(folder) == expected[folder]

    def load(folder: str) -> None:
        assert explorer.load(folder, device="cpu", dtype="bfloat16").info.dtype == "bfloat16"

    threads = [threading.Thread(target=work, args=(task,)) for task in (look, load)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert torch.get_default_dtype() == torch.float32
