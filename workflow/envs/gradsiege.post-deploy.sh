# Runs in the new environment, from the root of the repository. The lock has hashes and an editable
# package cannot have one, so they are two steps.
set -euo pipefail
python -m pip install --require-hashes --requirement requirements.lock
python -m pip install --no-deps --editable .
# The weights of LPIPS; everything else runs without them.
python -m pip install --no-deps --no-build-isolation --require-hashes --requirement requirements-lpips.txt ||
  echo "requirements-lpips.txt could not be installed, so LPIPS stays absent."
