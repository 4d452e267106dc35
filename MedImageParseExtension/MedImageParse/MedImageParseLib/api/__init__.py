"""The one facade: what a person calls from Python; the command line is made from it."""
