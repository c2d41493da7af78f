"""The recipe is a folder of scripts, not a package: its modules are imported from where they lie."""

from __future__ import annotations

import sys
from pathlib import Path

RECIPE = Path(__file__).parents[2] / "resources" / "models" / "recipe"

sys.path.insert(0, str(RECIPE))
