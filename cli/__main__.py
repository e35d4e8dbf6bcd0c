"""`python -m npsnn.cli`."""

from npsnn.cli.start import main

main()
