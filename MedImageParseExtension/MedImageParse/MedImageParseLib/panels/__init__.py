"""What a person sees in Slicer. The only room that knows Qt."""
