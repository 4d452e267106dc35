"""What the scene's tests share: geometries of every kind, and readings of segments by Slicer's or numpy's own means."""

from __future__ import annotations

import itertools

import numpy as np

from MedImageParseLib.imaging.volume import CroppedMask
from MedImageParseLib.scene.segments import SegmentSpec

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def orientations() -> list[np.ndarray]:
    """The 48 axis orders and flips, with unequal spacings and an origin away from zero."""
    result = []
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1, -1), repeat=3):
            affine = np.eye(4)
            affine[:3, :3] = 0
            for axis, (target, sign, spacing) in enumerate(zip(order, signs, (0.7, 1.3, 2.5))):
                affine[target, axis] = sign * spacing
            affine[:3, 3] = (12.5, -40.25, 101.0)
            result.append(affine)
    return result


def oblique(angles=(0.3, -0.2, 0.5), spacing=(0.8, 1.1, 3.0), *, left_handed=False, shear=0.0) -> np.ndarray:
    a, b, c = angles
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    tilt = np.eye(3)
    tilt[1, 2] = shear
    affine = np.eye(4)
    affine[:3, :3] = about_x @ about_y @ about_z @ tilt @ np.diag(spacing)
    if left_handed:
        affine[:3, 0] *= -1
    affine[:3, 3] = (-33.3, 7.25, 250.125)
    return affine


GEOMETRIES = {
    "plain": np.eye(4),
    "oblique": oblique(),
    "left-handed": oblique(left_handed=True),
    "sheared": oblique(shear=0.4),
    "sheared left-handed": oblique(shear=-0.3, left_handed=True),
}


def spec(name: str, full: np.ndarray, color=(0.2, 0.4, 0.6), terminology: str = "") -> SegmentSpec:
    return SegmentSpec(name, CroppedMask.from_full(full), color, terminology)


def blob(shape_kji, seed=0, density=0.3) -> np.ndarray:
    """A random mask without symmetry, away from being full or empty."""
    return (np.random.default_rng(seed).random(shape_kji) < density).astype(np.uint8)


def box(shape_kji, *slices) -> np.ndarray:
    mask = np.zeros(shape_kji, np.uint8)
    mask[tuple(slice(*each) for each in slices)] = 1
    return mask


def points_of(mask: np.ndarray, ijk_to_ras: np.ndarray) -> np.ndarray:
    """Positions (mm, RAS) of a full-grid kji mask's voxels, by plain matrix algebra, sorted."""
    ijk = np.argwhere(mask)[:, ::-1]
    ras = ijk @ ijk_to_ras[:3, :3].T + ijk_to_ras[:3, 3]
    return sorted_points(ras)


def sorted_points(points: np.ndarray) -> np.ndarray:
    rounded = np.round(points, 4) + 0.0
    return rounded[np.lexsort(rounded.T)]


def segment_on_grid(segmentation_node, segment_id: str, shape_kji) -> np.ndarray:
    """A segment on the full grid of its volume, extracted by Slicer (not by the product); for grids that start at index zero."""
    import slicer
    from vtk.util.numpy_support import vtk_to_numpy

    image = slicer.vtkOrientedImageData()
    assert segmentation_node.GetBinaryLabelmapRepresentation(segment_id, image)
    full = np.zeros(shape_kji, np.uint8)
    if image.GetNumberOfPoints() and image.GetPointData().GetScalars() is not None:
        extent = image.GetExtent()
        part = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])
        full[tuple(slice(extent[2 * axis], extent[2 * axis + 1] + 1) for axis in (2, 1, 0))] = part != 0
    return full


def segment_points(segmentation_node, segment_id: str, *, world=False) -> np.ndarray:
    """Positions (mm) of a segment's voxels as Slicer places them, in the node's or in world coordinates."""
    import slicer
    import vtk
    from vtk.util.numpy_support import vtk_to_numpy

    image = slicer.vtkOrientedImageData()
    assert segmentation_node.GetBinaryLabelmapRepresentation(segment_id, image)
    labels = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])
    to_world = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(to_world)
    parent = segmentation_node.GetParentTransformNode()
    if world and parent is not None:
        transform = vtk.vtkMatrix4x4()
        parent.GetMatrixTransformToWorld(transform)
        vtk.vtkMatrix4x4.Multiply4x4(transform, to_world, to_world)
    start = np.array(image.GetExtent()[::2])
    ijk = np.argwhere(labels)[:, ::-1] + start
    return sorted_points(np.array([to_world.MultiplyPoint((*point, 1.0))[:3] for point in ijk.astype(float)]))


def names_of(segmentation_node) -> list[str]:
    segmentation = segmentation_node.GetSegmentation()
    return [segmentation.GetSegment(each).GetName() for each in segmentation.GetSegmentIDs()]


def snapshot(segmentation_node, shape_kji) -> list[tuple]:
    """Everything that must be the same again after an undo or a failure."""
    segmentation = segmentation_node.GetSegmentation()
    rows = []
    for segment_id in segmentation.GetSegmentIDs():
        segment = segmentation.GetSegment(segment_id)
        voxels = segment_on_grid(segmentation_node, segment_id, shape_kji).tobytes()
        rows.append((segment_id, segment.GetName(), segment.GetColor(), segment.GetTerminology(), voxels))
    return rows


def add_shared_layer(segmentation_node, volume_node, labels: np.ndarray, names: list[str]) -> list[str]:
    """Segments that share one labelmap (value k for the k-th name), as Slicer makes them when it imports a labelmap."""
    import slicer
    import vtk
    from vtk.util.numpy_support import numpy_to_vtk

    image = slicer.vtkOrientedImageData()
    image.SetDimensions(labels.shape[::-1])
    image.GetPointData().SetScalars(numpy_to_vtk(labels.astype(np.uint8).ravel(), deep=True))
    matrix = vtk.vtkMatrix4x4()
    volume_node.GetIJKToRASMatrix(matrix)
    image.SetGeometryFromImageToWorldMatrix(matrix)
    ids = []
    for value, name in enumerate(names, start=1):
        segment = slicer.vtkSegment()
        segment.SetName(name)
        segment.SetColor(0.1 * value, 0.5, 0.9)
        segment.SetLabelValue(value)
        segment.AddRepresentation("Binary labelmap", image)
        ids.append(segmentation_node.GetSegmentation().GenerateUniqueSegmentID(""))
        assert segmentation_node.GetSegmentation().AddSegment(segment, ids[-1])
    return ids


def linear_transform(scene, matrix: np.ndarray, parent=None):
    import vtk

    node = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    vtk_matrix = vtk.vtkMatrix4x4()
    vtk_matrix.DeepCopy(matrix.ravel().tolist())
    node.SetMatrixTransformToParent(vtk_matrix)
    if parent is not None:
        node.SetAndObserveTransformNodeID(parent.GetID())
    return node
