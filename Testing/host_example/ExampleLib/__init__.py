"""The example's library."""
