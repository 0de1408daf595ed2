# Runs in the new environment, from the root of the repository. The lock has hashes and an editable
# package cannot have one, so they are two steps.
set -euo pipefail
python -m pip install --require-hashes --requirement requirements.lock
python -m pip install --no-deps --editable .
