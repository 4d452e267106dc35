"""Many images: running them, keeping account of them, measuring and describing what was found. Arrays and files, no MRML, no Qt."""
