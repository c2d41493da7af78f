"""What a checkpoint's own generation settings say, and what of it is in force here."""

from __future__ import annotations

from dataclasses import dataclass

from explorer.core.sampling import SamplingParams


@dataclass(frozen=True, slots=True)
class OwnSettings:
    """A checkpoint's ``generation_config.json``, in facts.

    Attributes
    ----------
    rules : tuple of str
        What applies to every step whatever the sliders say, e.g. ``bans <pad>``.
    sampling : SamplingParams or None
        How it samples by itself; the sliders take this one's place. None where it does not.
    not_followed : tuple of str
        What it sets that is not followed here, e.g. ``num_beams 4``.
    """

    rules: tuple[str, ...] = ()
    sampling: SamplingParams | None = None
    not_followed: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """All of it in one paragraph; empty where it says nothing."""
        parts = []
        if self.rules:
            parts.append(f"In force from the model's own settings: {', '.join(self.rules)}.")
        if self.sampling is not None:
            parts.append(f"By itself it samples with {self.sampling.summary}; the sliders replace that.")
        if self.not_followed:
            parts.append(f"Not followed here: {', '.join(self.not_followed)}.")
        return " ".join(parts)


NO_OWN_SETTINGS = OwnSettings()
