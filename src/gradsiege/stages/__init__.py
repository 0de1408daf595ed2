"""One file a stage: each reads artifacts, calls the library, and writes artifacts."""
