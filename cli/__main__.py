"""`python -m npsnn.cli`."""

from npsnn.cli.main import main

main()
