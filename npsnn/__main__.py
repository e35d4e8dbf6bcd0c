"""`python -m npsnn`."""

from npsnn.cli.start import main

main()
