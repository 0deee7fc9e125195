"""What an import costs, beside NumPy's."""

from __future__ import annotations


class Imports:
    """New processes."""

    def timeraw_import_numpy(self) -> str:
        return "import numpy"

    def timeraw_import_fastnn(self) -> str:
        return "import fastnn"

    def timeraw_import_fastnn_and_use(self) -> str:
        return "import fastnn; fastnn.Sequential; fastnn.ops.relu([1.0])"
