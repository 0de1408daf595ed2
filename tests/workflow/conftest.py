"""What every test of the pipeline starts from."""

from __future__ import annotations

from workspaces import clone, finished, shareable, workspace

__all__ = ["clone", "finished", "shareable", "workspace"]
