"""Access tokens do not get into what is shown, printed or stored."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from explorer.__main__ import main
from explorer.app import errors
from explorer.app.settings import Settings
from explorer.core.secrets import is_token, scrub

TOKEN = "hf_" + "aB3" * 11
OTHER = "a-company-token-0123456789"


@pytest.mark.parametrize(
    "text",
    [
        f"401 for {TOKEN}",
        f"https://user:{TOKEN}@hub.example/x",
        "https://me:secretword@hub.example/x",
        f"headers: Authorization: Bearer {OTHER}",
        f"with {OTHER} in it",
    ],
)
def test_that_no_token_or_password_is_left(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", OTHER)
    for secret in (TOKEN, OTHER, "secretword"):
        assert secret not in scrub(text)


@pytest.mark.parametrize("text", ["hf-internal-testing/tiny-random-gpt2", "hf_short", "a@b", "12:30", ""])
def test_that_other_text_is_left_alone(text: str) -> None:
    assert scrub(text) == text
    assert not is_token(text)


def test_that_a_notice_and_its_report_hold_no_token() -> None:
    try:
        raise RuntimeError(f"no access with {TOKEN}")
    except RuntimeError as error:
        notice = errors.describe(error)
    assert TOKEN not in notice.text + notice.details
    assert "no access with" in notice.details


def test_that_the_settings_hold_no_token(tmp_path: Path) -> None:
    settings = Settings()
    settings.remember_model("gpt2")
    settings.remember_model(TOKEN)
    settings.save(tmp_path / "settings.json")
    stored = (tmp_path / "settings.json").read_text()
    assert TOKEN not in stored
    assert json.loads(stored)["recent_models"] == ["gpt2"]


def test_that_the_command_line_prints_no_token(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", "--model", TOKEN, "--out", str(tmp_path / "run")]) == 2
    said = capsys.readouterr()
    assert TOKEN not in said.out + said.err
    assert "access token" in said.err
