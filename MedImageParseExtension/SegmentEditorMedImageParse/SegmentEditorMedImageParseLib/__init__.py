"""The effect that SegmentEditorMedImageParse registers."""
