"""`python -m gradsiege` is the command `gradsiege`."""

from gradsiege.cli import main

main()
