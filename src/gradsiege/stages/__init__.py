"""One file per stage: each reads artifacts, calls the library, and writes artifacts."""
