"""The classical demo engine: no learned weights; its results are never those of MedImageParse."""
