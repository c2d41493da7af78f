"""The one shared state, the one worker, and what stands between them. QtCore only."""
