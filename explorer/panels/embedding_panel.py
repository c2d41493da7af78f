"""The embedding space: the whole vocabulary in three exact principal components, and true angles."""

from __future__ import annotations

import numpy as np
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from explorer.app.state import AppState, Emphasis
from explorer.core import geometry
from explorer.core.records import PairReading
from explorer.core.selection import TokenRef
from explorer.panels.widgets.pair_card import CardText, PairCard, degrees
from explorer.panels.widgets.panel import Panel
from explorer.panels.widgets.piece_text import shorten, visible_piece
from explorer.panels.widgets.scatter3d import Scatter3D
from explorer.panels.widgets.scatter_overlay import LONGEST_LABEL, Mark, VectorPair
from explorer.theme import Theme

AXES = 3
POINT_OPACITY = 0.45
LOW_PANEL = 330


class EmbeddingPanel(Panel):
    """Shows where tokens lie, and measures the angle of two of them in the model's full space."""

    title = "Embedding space"
    object_name = "embedding"

    def __init__(self, state: AppState, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(state, theme, parent)
        self.scatter = Scatter3D(theme, self.body)
        self.card = PairCard(theme, self.body)
        self.home_button = QPushButton("Home", self.scatter)
        self.home_button.setObjectName("home_button")
        self.home_button.setToolTip("Show the whole cloud again (Home). Drag turns, the wheel zooms.")
        self._lay_out()
        self._connect()
        self._update_cloud()
        self._update_pair()

    def _lay_out(self) -> None:
        self._column = QVBoxLayout(self.body)
        self._column.addWidget(self.scatter, 1)
        self._column.addWidget(self.card)
        corner = QVBoxLayout(self.scatter)
        row = QHBoxLayout()
        row.addStretch(1)
        row.addWidget(self.home_button)
        corner.addLayout(row)
        corner.addStretch(1)
        self._update_spacing()

    def _connect(self) -> None:
        state = self.state
        state.cloud_changed.connect(self._update_cloud)
        state.model_changed.connect(self._update_cloud)
        for changed in (
            state.source_changed,
            state.run_changed,
            state.stale_changed,
            state.hover_changed,
            state.selection_changed,
        ):
            changed.connect(self._update_marks)
        state.selection_changed.connect(self._on_selection_changed)
        state.pair_changed.connect(self._update_pair)
        self.scatter.view_changed.connect(self._update_card)
        self.scatter.hovered.connect(self._on_point_hovered)
        self.scatter.clicked.connect(self._on_point_clicked)
        self.home_button.clicked.connect(self.scatter.go_home)

    # -- what the hand does ---------------------------------------------------------------------------

    def _on_point_hovered(self, token_id: int | None) -> None:
        self.state.set_hover(None if token_id is None else self._ref(token_id))

    def _on_point_clicked(self, token_id: int | None, extend: bool) -> None:
        if token_id is not None:
            self.state.select(self._ref(token_id), extend=extend)
        elif not extend:
            self.state.select(None)

    def _ref(self, token_id: int) -> TokenRef:
        """The first place in the sentence where the token stands, else the vocabulary's row."""
        for ref in self.state.refs():
            if self.state.token_id(ref) == token_id:
                return ref
        return TokenRef("vocabulary", token_id)

    # -- redraws --------------------------------------------------------------------------------------

    def _update_cloud(self) -> None:
        cloud = self.state.cloud
        if cloud is None:
            waiting = self.state.model is not None
            self.show_hint(
                "Computing the principal components of the whole vocabulary …"
                if waiting
                else "The token vectors appear here when a model is loaded."
            )
            self.set_facts("")
            return
        points = np.zeros((len(cloud.pieces), AXES), dtype=np.float32)
        origin = np.zeros(AXES)
        axes = min(AXES, cloud.coordinates.shape[1])
        points[:, :axes], origin[:axes] = cloud.coordinates[:, :axes], cloud.origin[:axes]
        shares = [*cloud.explained_variance_ratio[:axes], *[0.0] * (AXES - axes)]
        first, second, third = (f"PC {i + 1} · {_percent(share)}" for i, share in enumerate(shares))
        self.scatter.set_scene(points, origin, (first, second, third))
        self.set_facts(" · ".join(self._facts()))
        self.show_hint("")
        self._update_colors()
        self._update_marks()
        self._update_pair()

    def _facts(self) -> list[str]:
        cloud = self.state.cloud
        if cloud is None:
            return []
        facts = [
            f"{len(cloud.pieces):,} tokens",
            "exact PCA",
            _explained_text(min(AXES, len(cloud.explained_variance_ratio)), self._explained()),
        ]
        if self.scatter.no_opengl:
            facts.append("drawn without OpenGL")
        return facts

    def _explained(self) -> float:
        cloud = self.state.cloud
        return 0.0 if cloud is None else float(cloud.explained_variance_ratio[:AXES].sum())

    def _update_colors(self) -> None:
        if self.state.cloud is not None:
            color = np.array(self.theme.color("point").getRgbF(), dtype=np.float32)
            color[3] = POINT_OPACITY
            self.scatter.set_colors(np.tile(color, (len(self.state.cloud.pieces), 1)))

    def _update_marks(self) -> None:
        cloud = self.state.cloud
        if cloud is None:
            return
        state = self.state
        sides: dict[int, list[str]] = {}
        pale: dict[int, bool] = {}
        pointed = (ref for ref in (*state.selection.refs, state.hover) if ref is not None)
        for ref in (*state.refs(), *pointed):
            token_id = state.token_id(ref)
            if token_id is None or token_id >= len(cloud.pieces):
                continue
            side = "generated" if ref.side == "start" else ref.side
            stale = state.stale and side == "generated"
            known = sides.setdefault(token_id, [])
            if side not in known and not (side == "vocabulary" and known):
                known.append(side)
            pale[token_id] = pale.get(token_id, True) and stale
        self.scatter.set_marks(
            [
                Mark(
                    token_id,
                    self._label(token_id),
                    tuple(found),
                    state.emphasis_of_id(token_id),
                    pale[token_id],
                )
                for token_id, found in sides.items()
            ]
        )

    def _label(self, token_id: int) -> str:
        piece = visible_piece(self.state.piece(token_id))
        hovered = self.state.emphasis_of_id(token_id) is Emphasis.HOVERED
        return f"{shorten(piece, LONGEST_LABEL - 8)} · {token_id}" if hovered else piece

    def _on_selection_changed(self) -> None:
        ids = self._selected_ids()
        if self.state.cloud is not None and ids:
            self.scatter.reveal(ids)
        self._update_pair()

    def _selected_ids(self) -> list[int]:
        ids = [self.state.token_id(ref) for ref in self.state.selection.refs]
        count = 0 if self.state.cloud is None else len(self.state.cloud.pieces)
        return [token_id for token_id in ids if token_id is not None and token_id < count]

    def _update_pair(self) -> None:
        ids = self._selected_ids()
        reading = self._reading()
        text = "" if reading is None else degrees(reading.angle_degrees)
        self.scatter.set_pair(VectorPair(ids[0], ids[1], text) if len(ids) == 2 else None)
        self.card.setVisible(len(ids) == 2)
        self._update_card()

    def _update_card(self) -> None:
        ids = self._selected_ids()
        cloud = self.state.cloud
        if len(ids) != 2 or cloud is None:
            return
        seen = self.scatter.screen_positions(ids)[:2].T
        first, second = self.state.selection.refs
        self.card.set_text(
            CardText(
                pieces=((self.state.piece(ids[0]), first.side), (self.state.piece(ids[1]), second.side)),
                reading=self._reading(),
                on_screen_degrees=geometry.on_screen_angle(*seen),
                reason=f"The picture keeps 3 of {cloud.dimensions} dimensions: "
                f"{_percent(self._explained())} of the variance.",
                where=f"full space, {cloud.dimensions} dimensions",
            )
        )

    def _reading(self) -> PairReading | None:
        pair = self.state.pair
        return pair if pair is not None and list(pair.token_ids) == self._selected_ids() else None

    def resizeEvent(self, event: QResizeEvent) -> None:
        """In a low panel the picture comes first."""
        super().resizeEvent(event)
        self.card.set_compact(self.height() < LOW_PANEL * self.theme.scale)

    def _update_theme(self) -> None:
        self._update_spacing()
        self._update_colors()
        self.scatter.update_theme()
        self.card.updateGeometry()
        self.card.update()

    def _update_spacing(self) -> None:
        pad = self.theme.space(1)
        self._column.setContentsMargins(pad, 0, pad, pad)
        self._column.setSpacing(pad)
        layout = self.scatter.layout()
        assert layout is not None
        layout.setContentsMargins(0, 0, 0, 0)


def _explained_text(axes: int, share: float) -> str:
    return (
        f"{axes} axes explain {_percent(share)} of variance"
        if axes > 1
        else f"1 axis explains {_percent(share)} of variance"
    )


def _percent(share: float) -> str:
    return f"{100.0 * share:.1f} %"
