"""The only room that knows MRML: volumes out of the scene, masks back into it as segments.

Importing this package is instant: slicer and vtk (one to two seconds outside Slicer) are imported inside the functions that
need them.
"""
