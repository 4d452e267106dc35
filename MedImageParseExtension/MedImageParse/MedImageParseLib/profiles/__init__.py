"""Named endpoints, what was agreed to, and the folder in which both are kept."""
