"""`python -m npsnn`."""

from npsnn.cli.main import main

main()
