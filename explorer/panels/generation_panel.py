"""The decoder's loop: its steps, its branches, and what goes on inside a step."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QStackedWidget, QWidget

from explorer.app.state import AppState
from explorer.panels.generation.beam_view import BeamView
from explorer.panels.generation.compare_view import CompareView
from explorer.panels.generation.inside_view import InsideView
from explorer.panels.generation.lens_view import LensView
from explorer.panels.generation.steps_view import StepsView
from explorer.panels.generation.tree_view import TreeView
from explorer.panels.widgets.panel import Panel
from explorer.panels.widgets.segmented import Segmented
from explorer.theme import Theme

# The names are those of `screenshot --view`.
VIEWS = {
    "steps": "Every step with what was chosen and what else could have been",
    "tree": "Every branch that was ever taken; force another token to begin one",
    "beams": "Beam search: several hypotheses at once, as a tree with their scores",
    "layers": "What each layer would already choose, at every step: the logit lens",
    "inside": "What each part of each layer added, at the viewed step",
    "compare": "Two runs side by side: settings, seeds, branches, models or dtypes",
}


View = StepsView | TreeView | BeamView | LensView | InsideView | CompareView


class GenerationPanel(Panel):
    """One run in several views, chosen on the left; all of them look at the same step."""

    title = "Generation"
    object_name = "generation_panel"

    def __init__(self, state: AppState, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(state, theme, parent)
        self.chooser = Segmented(theme, "generation_view", self.body, dense=True, vertical=True)
        self.chooser.set_names(tuple(VIEWS), tuple(VIEWS.values()))
        self.steps = StepsView(state, theme, self.body)
        self.tree = TreeView(state, theme, self.body)
        self.beams = BeamView(state, theme, self.body)
        self.lens = LensView(state, theme, self.body)
        self.inside = InsideView(state, theme, self.body)
        self.compare = CompareView(state, theme, self.body)
        self.views: dict[str, View] = {
            "steps": self.steps,
            "tree": self.tree,
            "beams": self.beams,
            "layers": self.lens,
            "inside": self.inside,
            "compare": self.compare,
        }
        self._pages = QStackedWidget(self.body)
        # The widest view does not say how narrow the panel may be while another one is open.
        self._pages.setMinimumSize(1, 1)
        for view in self.views.values():
            self._pages.addWidget(view)
        self._row = QHBoxLayout(self.body)
        self._row.addWidget(self.chooser, 0, Qt.AlignmentFlag.AlignTop)
        self._row.addWidget(self._pages, 1)
        self.chooser.chosen.connect(self.show_view)
        self.tree.comparison_wanted.connect(self._on_comparison_wanted)
        state.model_changed.connect(self._update_hint)
        state.run_changed.connect(self._update_run)
        for changed in (
            state.viewed_step_changed,
            state.generation.inside_changed,
            state.generation.beams_changed,
            state.generation.kept_changed,
        ):
            changed.connect(self._update_facts)
        self._update_theme()
        self.show_view("steps")
        self._update_run()

    @property
    def view(self) -> str:
        """Name of the view that is open."""
        return next(name for name, view in self.views.items() if view is self._pages.currentWidget())

    def show_view(self, name: str) -> None:
        """Open a view by its name."""
        self._pages.setCurrentWidget(self.views[name])
        self.chooser.set_current(name)
        self._update_facts()

    def _on_comparison_wanted(self, end: int, name: str) -> None:
        self.compare.keep_branch(end, name)
        self.show_view("compare")

    def _update_run(self) -> None:
        self._update_hint()
        self._update_facts()

    def _update_facts(self) -> None:
        run = self.state.run
        if run is None:
            self.set_facts("")
            return
        self.set_facts(self.views[self.view].facts)

    def _update_hint(self) -> None:
        model = self.state.model
        if self.state.run is not None:
            self.show_hint("")
        elif model is not None and model.family == "encoder-only":
            self.show_hint(
                "This model has an encoder only: it has no decoding loop, and fills in masks instead. "
                "Type a sentence with a mask in it, then press Step."
            )
        else:
            self.show_hint("Type a sentence, then press Step.")

    def _update_theme(self) -> None:
        space = self.theme.space
        self._row.setContentsMargins(space(1), space(0.5), space(1), space(0.5))
        self._row.setSpacing(space(1))
        self.chooser.update_theme()
        for view in self.views.values():
            view.update_theme()
