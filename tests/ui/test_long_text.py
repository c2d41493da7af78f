"""A thousand tokens and more, by way of the whole window."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import transformers
from PySide6.QtCore import QPoint, Qt
from pytestqt.qtbot import QtBot

from explorer.commands.window import Parts
from explorer.core.selection import HeadRef
from explorer.panels.attention.map_content import MapHit
from explorer.panels.attention_panel import AttentionPanel
from tests.model import checkpoints
from tests.ui.conftest import settle

Open = Callable[..., Parts]
LEFT = Qt.MouseButton.LeftButton


def test_that_every_weight_of_a_long_text_is_read_exactly_where_it_is_pointed_at(
    open_window: Open, qtbot: QtBot, tmp_path: Path
) -> None:
    folder = checkpoints.save(checkpoints.t5, tmp_path)
    text = " ".join([checkpoints.TEXT] * 90)
    parts = open_window(load=False, text=text)
    parts.controller.load(str(folder))
    settle(qtbot, parts)
    state = parts.state
    assert state.notice is None
    assert state.source is not None
    count = len(state.source)
    assert count > 1024
    state.set_head(HeadRef("encoder", 1, 2))
    state.step_requested.emit()
    settle(qtbot, parts)
    panel = parts.window.findChild(AttentionPanel)
    assert isinstance(panel, AttentionPanel)
    assert f"{count} × {count}" in panel.facts
    assert "a pixel is the largest of" in panel.facts
    assert "thumbnails: largest of up to" in panel.caption.text()

    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder, attn_implementation="eager").eval()
    with torch.inference_mode():
        out = model.get_encoder()(torch.tensor([state.source.ids]), output_attentions=True)
    expected = out.attentions[1][0, 2].numpy()
    assert state.attention is not None
    np.testing.assert_allclose(state.attention.weights, expected, atol=1e-5)

    view = panel.heat_map
    for share in (0.2, 0.5, 0.9):
        where = QPoint(
            round(view.geometry_now().view.left() + share * view.geometry_now().view.width()),
            round(view.geometry_now().view.top() + share * view.geometry_now().view.height()),
        )
        qtbot.mouseMove(view, where)
        hit = view.hovered
        assert isinstance(hit, MapHit)
        assert hit.is_cell
        assert f"{expected[hit.row, hit.column]:.4f}" in panel.readout.text
    qtbot.mouseClick(view, LEFT, pos=where)
    settle(qtbot, parts)
    assert state.cell is not None
    np.testing.assert_allclose(state.cell.weight, expected[state.cell.row, state.cell.column], atol=1e-5)
