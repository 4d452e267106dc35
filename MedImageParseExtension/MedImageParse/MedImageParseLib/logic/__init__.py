"""The Logic class of the Slicer module: the console API on nodes, and what the panel stands on. No Qt."""
