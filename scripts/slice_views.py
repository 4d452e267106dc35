"""Pictures of Slicer's own slice views and 3D view, drawn off screen by the view classes of slicer-core: what Slicer would show.

Needs OpenGL without a display (on Debian and Ubuntu: libegl1 and libgl1-mesa-dri). Inside the headless host's scene.
"""

from __future__ import annotations

from typing import Any

import numpy as np

_SLICE_MANAGERS = ("vtkMRMLSegmentationsDisplayableManager2D", "vtkMRMLModelSliceDisplayableManager")
_VIEW_MANAGERS = ("vtkMRMLSegmentationsDisplayableManager3D", "vtkMRMLModelDisplayableManager", "vtkMRMLCameraDisplayableManager")


def slice_picture(slice_logic: Any, size: tuple[int, int]) -> np.ndarray:
    """What a slice view shows: the volume through its window, and the segments over it.

    Args:
        slice_logic: a vtkMRMLSliceLogic with its nodes.
        size: (width, height) in pixels.

    Returns:
        uint8 (rows, columns, 3), the first row on top.
    """
    import slicer
    import vtk

    width, height = size
    node = slice_logic.GetSliceNode()
    node.SetDimensions(width, height, 1)
    offset = slice_logic.GetSliceOffset()
    slice_logic.FitSliceToAll(width, height)  # which goes to the middle slice
    slice_logic.SetSliceOffset(offset)
    slice_logic.UpdatePipeline()
    window, renderer = _window(size)
    mapper, actor = vtk.vtkImageMapper(), vtk.vtkActor2D()
    mapper.SetInputConnection(slice_logic.GetImageDataConnection())
    mapper.SetColorWindow(255)
    mapper.SetColorLevel(127.5)
    actor.SetMapper(mapper)
    actor.GetProperty().SetDisplayLocationToBackground()
    renderer.AddViewProp(actor)
    group = _managers(slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance(), _SLICE_MANAGERS, renderer, node)
    picture = _grab(window)
    group.SetMRMLDisplayableNode(None)
    return picture


def view_picture(view_node: Any, size: tuple[int, int]) -> np.ndarray:
    """What the 3D view shows: the closed surfaces of segments. Args and return value as for slice_picture."""
    import slicer

    window, renderer = _window(size)
    renderer.SetBackground(0.70, 0.72, 0.85)
    group = _managers(slicer.vtkMRMLThreeDViewDisplayableManagerFactory.GetInstance(), _VIEW_MANAGERS, renderer, view_node)
    renderer.ResetCamera()
    camera = renderer.GetActiveCamera()
    middle, distance = np.array(camera.GetFocalPoint()), camera.GetDistance()
    camera.SetPosition(*(middle + np.array([0.35, 1.0, 0.15]) / 1.07 * distance))  # from the front, a little from the patient's right
    camera.SetViewUp(0, 0, 1)
    renderer.ResetCamera()
    camera.Zoom(1.3)
    picture = _grab(window)
    group.SetMRMLDisplayableNode(None)
    return picture


def _window(size: tuple[int, int]) -> tuple[Any, Any]:
    import vtk

    window, renderer = vtk.vtkRenderWindow(), vtk.vtkRenderer()
    window.SetOffScreenRendering(1)
    window.SetMultiSamples(4)
    window.SetSize(*size)
    window.AddRenderer(renderer)
    interactor = vtk.vtkRenderWindowInteractor()
    interactor.SetRenderWindow(window)
    return window, renderer


def _managers(factory: Any, names: tuple[str, ...], renderer: Any, node: Any) -> Any:
    """Slicer's displayable managers of a view: they draw what the scene holds."""
    import slicer

    factory.SetMRMLApplicationLogic(slicer.app.applicationLogic())
    for name in names:
        if not factory.IsDisplayableManagerRegistered(name):
            factory.RegisterDisplayableManager(name)
    group = slicer.vtkMRMLDisplayableManagerGroup()
    group.Initialize(factory, renderer)
    group.SetMRMLDisplayableNode(node)
    return group


def _grab(window: Any) -> np.ndarray:
    import vtk
    from vtk.util.numpy_support import vtk_to_numpy

    window.Render()
    taker = vtk.vtkWindowToImageFilter()
    taker.SetInput(window)
    taker.ReadFrontBufferOff()
    taker.Update()
    image = taker.GetOutput()
    columns, rows, _depth = image.GetDimensions()
    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(rows, columns, 3)[::-1]
