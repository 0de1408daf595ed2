"""Files that ship inside an installed package, verified before use."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path


def packaged_file(package: str, path: str, sha256: str) -> bytes:
    """Read a file of an installed package; never downloads, and never imports the package.

    scikit-image's own loaders fetch what is missing and importing scikit-learn costs seconds, so
    both are passed by.

    Raises:
        FileNotFoundError: when the package is not installed or does not carry the file.
        ValueError: when the file is not the one this study was written for.
    """
    spec = importlib.util.find_spec(package)
    folders = (spec.submodule_search_locations if spec else None) or []
    file_there = next((file for folder in folders if (file := Path(folder, path)).is_file()), None)
    if file_there is None:
        raise FileNotFoundError(
            f"the installed package '{package}' has no file '{path}'; "
            "install the version pinned in requirements.lock"
        )
    content = file_there.read_bytes()
    actual = hashlib.sha256(content).hexdigest()
    if actual != sha256:
        raise ValueError(
            f"{file_there} has SHA-256 {actual}, expected {sha256}; "
            f"reinstall the version of '{package}' pinned in requirements.lock"
        )
    return content
