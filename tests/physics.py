"""Numbers of room acoustics that were computed by other code than ours; lengths in metres, times in seconds."""

import json
from pathlib import Path
from typing import Any

REFERENCE: dict[str, Any] = json.loads((Path(__file__).parent / "unit" / "data" / "physics.json").read_text())
