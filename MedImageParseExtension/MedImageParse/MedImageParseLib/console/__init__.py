"""The console API, from which the command line is made."""
