"""What the files of these tests carry: things that leave a mark where they are run."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import torch


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.marker),))


def torch_bytes(value: Any) -> bytes:
    """A file as `torch.save` writes it."""
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()
