"""The bars around the panels: titles, notices, progress, stages, and the bar that a person works from."""
