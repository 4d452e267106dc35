"""Masks into segments: place, names, overlap rules, surfaces."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed: there is no MRML to test against")

from scene_support import (
    GEOMETRIES,
    add_shared_layer,
    blob,
    box,
    linear_transform,
    names_of,
    oblique,
    orientations,
    points_of,
    segment_on_grid,
    segment_points,
    snapshot,
    spec,
)

from MedImageParseLib.errors import InputError, UsageError
from MedImageParseLib.imaging.volume import Volume
from MedImageParseLib.scene import segments, session
from MedImageParseLib.scene.segments import importSegments, undoLastImport
from MedImageParseLib.scene.volumes import nodeFromVolume

SHAPE = (6, 7, 8)


@pytest.fixture(autouse=True)
def scene():
    yield session.newScene()
    session.closeScene()


def ct(affine=None, shape=SHAPE, name="CT"):
    return nodeFromVolume(Volume(np.zeros(shape, np.int16), np.eye(4) if affine is None else affine), name)


# --- place ---------------------------------------------------------------------------------------------------------


def test_masks_land_on_their_voxels_in_all_48_orientations():
    mask = blob((3, 4, 5))
    for affine in orientations():
        result = importSegments(None, ct(affine, (3, 4, 5)), [spec("organ", mask)])
        assert np.allclose(segment_points(result.segmentationNode, result.segmentIds["organ"]), points_of(mask, affine), atol=2e-4)


@pytest.mark.parametrize("shape", [(6, 7, 8), (1, 9, 5), (5, 1, 1)])
@pytest.mark.parametrize("name", GEOMETRIES)
def test_masks_land_on_their_voxels_in_any_geometry_and_single_slices(name, shape):
    mask = blob(shape, density=0.6)
    result = importSegments(None, ct(GEOMETRIES[name], shape), [spec("organ", mask)])
    assert np.allclose(segment_points(result.segmentationNode, result.segmentIds["organ"]), points_of(mask, GEOMETRIES[name]), atol=2e-4)


def test_masks_of_a_color_image_land_on_its_pixels():
    node = nodeFromVolume(Volume(np.zeros((1, 9, 7, 3), np.uint8)), "photo")
    mask = blob((1, 9, 7))
    result = importSegments(None, node, [spec("nucleus", mask)])
    assert np.array_equal(segment_on_grid(result.segmentationNode, result.segmentIds["nucleus"], (1, 9, 7)), mask)


def test_a_volume_whose_first_voxel_is_not_index_zero_gets_its_masks_in_place():
    node = ct(oblique())
    node.GetImageData().SetExtent(2, 9, 3, 9, 10, 15)
    mask = blob(SHAPE)
    shifted = oblique()
    shifted[:, 3] = oblique() @ (2, 3, 10, 1)
    result = importSegments(None, node, [spec("organ", mask)])
    assert np.allclose(segment_points(result.segmentationNode, result.segmentIds["organ"]), points_of(mask, shifted), atol=2e-4)


def test_under_nested_transforms_the_centroid_in_the_world_is_exact(scene):
    affine = oblique(shear=0.2, left_handed=True)
    outer, inner = oblique((0.7, 0.1, -0.4), (1, 1, 1)), oblique((-0.2, 0.9, 0.3), (1.1, 0.9, 1.0))
    outer_node = linear_transform(scene, outer)
    inner_node = linear_transform(scene, inner, parent=outer_node)
    node = ct(affine)
    node.SetAndObserveTransformNodeID(inner_node.GetID())
    mask = box(SHAPE, (1, 4), (2, 7), (3, 6))
    result = importSegments(None, node, [spec("organ", mask)])
    expected = points_of(mask, outer @ inner @ affine).mean(axis=0)
    measured = segment_points(result.segmentationNode, result.segmentIds["organ"], world=True).mean(axis=0)
    assert np.linalg.norm(measured - expected) < 0.01
    # The same by Slicer's own center of a segment, which needs no reading of voxels.
    center = result.segmentationNode.GetSegmentCenterRAS(result.segmentIds["organ"])
    assert np.linalg.norm(np.array(center) - expected) < 0.01
    # And it stays right when somebody moves the patient afterwards.
    moved = oblique((0.1, 0.2, 0.3), (1, 1, 1))
    import vtk

    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(moved.ravel().tolist())
    outer_node.SetMatrixTransformToParent(matrix)
    expected = points_of(mask, moved @ inner @ affine).mean(axis=0)
    assert np.linalg.norm(segment_points(result.segmentationNode, result.segmentIds["organ"], world=True).mean(axis=0) - expected) < 0.01


@pytest.mark.parametrize("which", ["volume", "segmentation", "both"])
def test_an_existing_segmentation_under_another_transform_gets_the_masks_in_place(scene, which):
    affine = oblique()
    transforms = {"volume": np.eye(4), "segmentation": np.eye(4)}
    node = ct(affine)
    existing = importSegments(None, node, [spec("before", blob(SHAPE, 1))]).segmentationNode
    for moved, matrix in (("volume", oblique((0.2, 0.5, 0.1), (1, 1, 1))), ("segmentation", oblique((0.9, 0.0, -0.3), (1, 1, 1)))):
        if which in (moved, "both"):
            transforms[moved] = matrix
            target = node if moved == "volume" else existing
            target.SetAndObserveTransformNodeID(linear_transform(scene, matrix).GetID())
    mask = blob(SHAPE, 2)
    result = importSegments(existing, node, [spec("organ", mask)])
    measured = segment_points(existing, result.segmentIds["organ"], world=True)
    expected = points_of(mask, transforms["volume"] @ affine)
    assert np.linalg.norm(measured.mean(axis=0) - expected.mean(axis=0)) < 0.01
    assert measured.shape == expected.shape


def test_different_nonlinear_transforms_are_refused_and_nothing_changes(scene):
    import vtk

    node = ct()
    existing = importSegments(None, node, [spec("before", blob(SHAPE))]).segmentationNode
    warp = vtk.vtkThinPlateSplineTransform()
    source, target = vtk.vtkPoints(), vtk.vtkPoints()
    for point in ((0, 0, 0), (9, 0, 0), (0, 9, 0), (0, 0, 9), (5, 5, 5)):
        source.InsertNextPoint(point)
        target.InsertNextPoint(point if point != (5, 5, 5) else (6, 5, 4))
    warp.SetSourceLandmarks(source)
    warp.SetTargetLandmarks(target)
    warp.SetBasisToR()
    warped = scene.AddNewNodeByClass("vtkMRMLTransformNode")
    warped.SetAndObserveTransformToParent(warp)
    node.SetAndObserveTransformNodeID(warped.GetID())
    before = snapshot(existing, SHAPE)
    with pytest.raises(UsageError, match="same transform"):
        importSegments(existing, node, [spec("organ", blob(SHAPE, 2))])
    assert snapshot(existing, SHAPE) == before
    # Under the same warp there is nothing to convert.
    existing.SetAndObserveTransformNodeID(warped.GetID())
    result = importSegments(existing, node, [spec("organ", blob(SHAPE, 2))])
    assert np.array_equal(segment_on_grid(existing, result.segmentIds["organ"], SHAPE), blob(SHAPE, 2))


@pytest.mark.parametrize("rule", ["allow", "keep", "overwrite"])
def test_a_segmentation_on_another_grid_is_merged_in_patient_space(rule):
    coarse, fine = np.diag([2.0, 2.0, 2.0, 1.0]), np.eye(4)
    coarse[:3, 3] = 0.5  # centers of the coarse voxels lie between the fine ones
    coarse_mask = box((4, 4, 4), (1, 3), (1, 3), (1, 3))
    existing = importSegments(None, ct(coarse, (4, 4, 4), "coarse"), [spec("old", coarse_mask)])
    node, old_id = existing.segmentationNode, existing.segmentIds["old"]
    fine_mask = box((8, 8, 8), (0, 4), (0, 8), (0, 8))
    result = importSegments(node, ct(fine, (8, 8, 8), "fine"), [spec("new", fine_mask)], overlap=rule)
    # By hand: coarse voxels 1..2 cover the fine indices 2..5 along each axis.
    under_old = box((8, 8, 8), (2, 6), (2, 6), (2, 6))
    expected_new = fine_mask & ~(under_old == 1) if rule == "keep" else fine_mask
    assert np.allclose(segment_points(node, result.segmentIds["new"]), points_of(expected_new, fine), atol=2e-4)
    # A coarse voxel is taken where its center lies in the new mask: those of k = 1 (fine slices 2, 3).
    expected_old = box((4, 4, 4), (2, 3), (1, 3), (1, 3)) if rule == "overwrite" else coarse_mask
    assert np.allclose(segment_points(node, old_id), points_of(expected_old, coarse), atol=2e-4)


def test_overwriting_from_a_coarse_grid_does_not_coarsen_what_is_left_of_a_fine_segment():
    fine_mask = box((8, 8, 8), (1, 8), (1, 8), (1, 8))
    existing = importSegments(None, ct(shape=(8, 8, 8)), [spec("fine", fine_mask)])
    coarse = np.diag([2.0, 2.0, 2.0, 1.0])
    coarse[:3, 3] = 0.5
    slab = spec("slab", box((4, 4, 4), (1, 2), (0, 4), (0, 4)))
    importSegments(existing.segmentationNode, ct(coarse, (4, 4, 4)), [slab], overlap="overwrite")
    fine_mask[2:4] = 0  # by hand: the coarse slice 1 covers the fine slices 2 and 3
    assert np.array_equal(segment_on_grid(existing.segmentationNode, existing.segmentIds["fine"], (8, 8, 8)), fine_mask)


# --- the node ------------------------------------------------------------------------------------------------------


def test_a_new_segmentation_belongs_to_its_volume(scene):
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    node = ct(oblique(), name="Abdomen")
    patient = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "patient")
    study = hierarchy.CreateStudyItem(patient, "study")
    hierarchy.CreateItem(study, node)
    transform = linear_transform(scene, oblique())
    node.SetAndObserveTransformNodeID(transform.GetID())
    made = importSegments(None, node, [spec("liver", blob(SHAPE))]).segmentationNode
    assert made.GetName() == "Abdomen segmentation"
    assert made.GetTransformNodeID() == transform.GetID()
    assert made.GetNodeReference(made.GetReferenceImageGeometryReferenceRole()) is node
    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(made)) == study
    assert made.GetDisplayNode().GetVisibility2DFill() and made.GetDisplayNode().GetVisibility()
    geometry = slicer.vtkOrientedImageData()
    parameter = made.GetSegmentation().GetConversionParameter(slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName())
    slicer.vtkSegmentationConverter.DeserializeImageGeometry(parameter, geometry, False)
    assert geometry.GetExtent() == (0, 7, 0, 6, 0, 5)
    assert np.allclose(geometry.GetOrigin(), oblique()[:3, 3])


def test_names_colors_and_codes_are_as_given_and_marked_as_set_by_hand():
    grey = (0.5, 0.5, 0.5)  # what Slicer takes for "no color yet"
    specs = [spec("Leber – links", blob(SHAPE, 1), (0.8, 0.1, 0.25), "context~a^b^c~d^e^f~^^~~^^~^^"), spec("grey", blob(SHAPE, 2), grey)]
    result = importSegments(None, ct(), specs)
    segmentation = result.segmentationNode.GetSegmentation()
    first, second = (segmentation.GetSegment(each) for each in result.segmentIds.values())
    assert (first.GetName(), first.GetColor()) == ("Leber – links", (0.8, 0.1, 0.25))
    assert first.GetTerminology() == "context~a^b^c~d^e^f~^^~~^^~^^"
    assert second.GetColor() == grey
    assert not any((first.GetNameAutoGenerated(), first.GetColorAutoGenerated(), second.GetColorAutoGenerated()))


def test_the_internal_labelmaps_are_no_larger_than_the_structures():
    result = importSegments(None, ct(shape=(20, 30, 40)), [spec("small", box((20, 30, 40), (3, 5), (7, 8), (11, 14)))])
    segment = result.segmentationNode.GetSegmentation().GetSegment(result.segmentIds["small"])
    assert segment.GetRepresentation("Binary labelmap").GetExtent() == (11, 13, 7, 7, 3, 4)


def test_listeners_of_the_node_hear_of_one_import_not_of_each_segment():
    node = ct()
    existing = importSegments(None, node, [spec("first", blob(SHAPE))]).segmentationNode
    heard = []
    existing.AddObserver("ModifiedEvent", lambda *_: heard.append(1))
    importSegments(existing, node, [spec(f"s{k}", blob(SHAPE, k)) for k in range(6)])
    assert len(heard) <= 1


# --- absent, names -------------------------------------------------------------------------------------------------


def test_absent_structure_adds_no_segment_and_is_reported_by_name_and_nothing_is_renamed():
    node = ct()
    liver = blob(SHAPE, 1)
    result = importSegments(None, node, [spec("liver", liver), spec("unicorn", np.zeros(SHAPE)), spec("spleen", blob(SHAPE, 2))])
    assert names_of(result.segmentationNode) == ["liver", "spleen"]
    assert result.absent == ["unicorn"]
    assert result.segmentIds["unicorn"] is None
    assert list(result.segmentIds) == ["liver", "unicorn", "spleen"]
    assert np.array_equal(segment_on_grid(result.segmentationNode, result.segmentIds["liver"], SHAPE), liver)


def test_when_everything_is_absent_existing_segments_stay_and_no_undo_step_is_made():
    node = ct()
    existing = importSegments(None, node, [spec("liver", blob(SHAPE))]).segmentationNode
    before, calls = snapshot(existing, SHAPE), []
    result = importSegments(existing, node, [spec("liver", np.zeros(SHAPE))], onExisting="replace", beforeChange=lambda: calls.append(1))
    assert result.absent == ["liver"] and calls == []
    assert snapshot(existing, SHAPE) == before
    assert undoLastImport(existing) and names_of(existing) == []
    assert not undoLastImport(existing)


def test_a_name_that_is_there_gets_a_number_or_is_replaced_under_its_old_id():
    node = ct()
    first = importSegments(None, node, [spec("liver", blob(SHAPE, 1)), spec("spleen", blob(SHAPE, 2))])
    existing = first.segmentationNode
    added = importSegments(existing, node, [spec("liver", blob(SHAPE, 3))])
    assert names_of(existing) == ["liver", "spleen", "liver_1"]
    assert added.segmentIds["liver"] != first.segmentIds["liver"]
    replaced = importSegments(existing, node, [spec("spleen", blob(SHAPE, 4), (1, 0, 0))], onExisting="replace")
    assert names_of(existing) == ["liver", "spleen", "liver_1"]
    assert replaced.segmentIds["spleen"] == first.segmentIds["spleen"]
    assert np.array_equal(segment_on_grid(existing, first.segmentIds["spleen"], SHAPE), blob(SHAPE, 4))
    assert existing.GetSegmentation().GetSegment(first.segmentIds["spleen"]).GetColor() == (1, 0, 0)
    assert np.array_equal(segment_on_grid(existing, first.segmentIds["liver"], SHAPE), blob(SHAPE, 1))


def test_a_name_given_twice_makes_two_segments():
    result = importSegments(None, ct(), [spec("lesion", blob(SHAPE, 1)), spec("lesion", blob(SHAPE, 2))])
    assert names_of(result.segmentationNode) == ["lesion", "lesion_1"]
    assert np.array_equal(segment_on_grid(result.segmentationNode, result.segmentIds["lesion_1"], SHAPE), blob(SHAPE, 2))


# --- overlap -------------------------------------------------------------------------------------------------------


def expected_segments(before: dict, masks: list[tuple[str, np.ndarray]], rule: str, replace: bool) -> dict[str, np.ndarray]:
    """The three rules in plain numpy on full grids: painting in order."""
    after = {name: mask.astype(bool) for name, mask in before.items()}
    targets = [name if replace and name in before else f"new {name}" for name, mask in masks]
    untouched = [after[name] for name in after if not any(mask.any() and name == target for (_, mask), target in zip(masks, targets))]
    taken = np.logical_or.reduce([np.zeros(SHAPE, bool), *untouched])
    painted: dict[str, np.ndarray] = {}
    for (_, mask), target in zip(masks, targets):
        mask = mask.astype(bool)
        if rule == "overwrite":
            for others in (after, painted):
                for name in others:
                    others[name] = others[name] & ~mask
        painted[target] = mask & ~taken if rule == "keep" else mask
    for name, mask in painted.items():
        if mask.any():
            after[name] = mask
    return after


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rule=st.sampled_from(segments.OVERLAP_RULES),
    replace=st.booleans(),
    seed=st.integers(0, 10_000),
    density=st.sampled_from([0.02, 0.3, 0.8]),
    new_names=st.lists(st.sampled_from(["a", "b", "c", "x", "y"]), min_size=1, max_size=4, unique=True),
)
def test_overlap_rules_do_what_painting_in_order_would_do_and_undo_brings_everything_back(rule, replace, seed, density, new_names):
    random = np.random.default_rng(seed)
    node = ct(oblique())
    existing = segments.newSegmentation(node)
    labels = random.integers(0, 3, SHAPE)  # a and b share a layer
    ids = dict(zip("ab", add_shared_layer(existing, node, labels, ["a", "b"])))
    lone = importSegments(existing, node, [spec("c", blob(SHAPE, seed))])
    ids["c"] = lone.segmentIds["c"]
    before = {"a": labels == 1, "b": labels == 2, "c": blob(SHAPE, seed) == 1}
    state = snapshot(existing, SHAPE)
    masks = [(name, blob(SHAPE, seed + 1 + number, density)) for number, name in enumerate(new_names)]

    result = importSegments(
        existing, node, [spec(name, mask) for name, mask in masks], overlap=rule, onExisting="replace" if replace else "add"
    )

    expected = expected_segments(before, masks, rule, replace)
    for name, segment_id in ids.items():
        assert np.array_equal(segment_on_grid(existing, segment_id, SHAPE), expected[name]), name
    for name, segment_id in result.segmentIds.items():
        if segment_id not in ids.values():
            if segment_id is None:
                assert not expected.get(f"new {name}", np.zeros(1)).any()
                assert (name in result.absent) != (name in result.covered)
            else:
                assert np.array_equal(segment_on_grid(existing, segment_id, SHAPE), expected[f"new {name}"]), name
    if any(result.segmentIds.values()):
        assert undoLastImport(existing)
    assert snapshot(existing, SHAPE) == state


@pytest.mark.parametrize("rule", ["allow", "keep"])
def test_existing_segments_are_not_even_copied_unless_they_have_to_change(rule):
    node = ct()
    existing = segments.newSegmentation(node)
    ids = add_shared_layer(existing, node, np.arange(np.prod(SHAPE)).reshape(SHAPE) % 3, ["a", "b"])
    layer = existing.GetSegmentation().GetSegment(ids[0]).GetRepresentation("Binary labelmap")
    changed_at = layer.GetMTime()
    importSegments(existing, node, [spec("c", blob(SHAPE)), spec("d", blob(SHAPE, 2))], overlap=rule)
    segmentation = existing.GetSegmentation()
    assert all(segmentation.GetSegment(each).GetRepresentation("Binary labelmap") is layer for each in ids)
    assert layer.GetMTime() == changed_at


def test_keep_reports_a_mask_that_lies_wholly_in_existing_segments():
    node = ct()
    existing = importSegments(None, node, [spec("body", np.ones(SHAPE))]).segmentationNode
    result = importSegments(existing, node, [spec("liver", blob(SHAPE))], overlap="keep")
    assert (result.covered, result.absent, result.segmentIds) == (["liver"], [], {"liver": None})
    assert names_of(existing) == ["body"]


# --- surfaces ------------------------------------------------------------------------------------------------------


def surface_bounds(segmentation_node, segment_id):
    return np.array(segmentation_node.GetSegmentation().GetSegment(segment_id).GetRepresentation("Closed surface").GetBounds())


def test_surfaces_are_there_afterwards_for_old_and_new_segments():
    node = ct()
    first = importSegments(None, node, [spec("old", box(SHAPE, (1, 5), (1, 6), (1, 7)))])
    existing, old_id = first.segmentationNode, first.segmentIds["old"]
    assert existing.CreateClosedSurfaceRepresentation()
    old_surface = existing.GetSegmentation().GetSegment(old_id).GetRepresentation("Closed surface")
    added = importSegments(existing, node, [spec("new", box(SHAPE, (2, 4), (2, 5), (3, 6)))])
    assert existing.GetSegmentation().GetSegment(old_id).GetRepresentation("Closed surface") is old_surface
    low, high = surface_bounds(existing, added.segmentIds["new"])[::2], surface_bounds(existing, added.segmentIds["new"])[1::2]
    assert (low >= (2, 1, 1)).all() and (high <= (6, 5, 4)).all() and (high > low).all()
    bounds_before = surface_bounds(existing, old_id)
    importSegments(existing, node, [spec("half", box(SHAPE, (1, 5), (1, 6), (4, 7)))], overlap="overwrite")
    assert surface_bounds(existing, old_id)[1] < bounds_before[1] - 2  # the surface follows what was taken
    assert existing.GetSegmentation().ContainsRepresentation("Closed surface")
    assert undoLastImport(existing)
    assert np.allclose(surface_bounds(existing, old_id), bounds_before)


def test_a_segmentation_without_surfaces_gets_none():
    result = importSegments(None, ct(), [spec("a", blob(SHAPE))])
    importSegments(result.segmentationNode, ct(), [spec("b", blob(SHAPE, 2))], overlap="overwrite")
    assert not result.segmentationNode.GetSegmentation().ContainsRepresentation("Closed surface")


def test_a_segmentation_made_of_surfaces_is_refused_with_a_sentence():
    node = ct()
    existing = importSegments(None, node, [spec("a", blob(SHAPE))]).segmentationNode
    existing.CreateClosedSurfaceRepresentation()
    existing.GetSegmentation().SetSourceRepresentationName("Closed surface")
    with pytest.raises(UsageError, match="binary labelmap"):
        importSegments(existing, node, [spec("b", blob(SHAPE))])
    assert names_of(existing) == ["a"]


# --- bad requests ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"overlap": "merge"}, UsageError, "allow, overwrite, keep"),
        ({"onExisting": "rename"}, UsageError, "add, replace"),
    ],
)
def test_unknown_rules_are_told_with_what_there_is(options, error, sentence):
    with pytest.raises(error, match=sentence):
        importSegments(None, ct(), [spec("a", blob(SHAPE))], **options)


def test_a_mask_of_another_size_is_refused_before_anything_is_made(scene):
    node = ct()
    count = scene.GetNumberOfNodes()
    with pytest.raises(UsageError, match="8x7x6"):
        importSegments(None, node, [spec("a", blob(SHAPE)), spec("b", blob((6, 7, 9)))])
    with pytest.raises(InputError, match="no volume"):
        importSegments(None, None, [spec("a", blob(SHAPE))])
    assert scene.GetNumberOfNodes() == count


# --- layers and who made it -----------------------------------------------------------------------------------------


def thirds() -> list[np.ndarray]:
    """Three masks that cover the volume between them and do not overlap, and one that overlaps two of them."""
    owner = np.random.default_rng(7).integers(0, 3, SHAPE)
    return [*((owner == number).astype(np.uint8) for number in range(3)), (owner != 1).astype(np.uint8)]


def test_masks_that_do_not_overlap_share_a_layer_and_each_keeps_its_voxels():
    masks = thirds()
    result = importSegments(None, ct(oblique()), [spec(name, mask) for name, mask in zip("abcd", masks)])
    node = result.segmentationNode
    assert node.GetSegmentation().GetNumberOfLayers() == 2
    for name, mask in zip("abcd", masks):
        assert np.array_equal(segment_on_grid(node, result.segmentIds[name], SHAPE), mask)


def test_a_segment_of_a_shared_layer_is_replaced_and_taken_back_without_a_voxel_of_the_others_changed():
    node = ct()
    masks = thirds()[:3]
    first = importSegments(None, node, [spec(name, mask) for name, mask in zip("abc", masks)])
    existing = first.segmentationNode
    before = snapshot(existing, SHAPE)
    importSegments(existing, node, [spec("b", blob(SHAPE, 9))], onExisting="replace")
    for name, mask in zip("ac", (masks[0], masks[2])):
        assert np.array_equal(segment_on_grid(existing, first.segmentIds[name], SHAPE), mask)
    assert undoLastImport(existing) and snapshot(existing, SHAPE) == before


def test_tags_survive_renaming_copying_and_a_run_of_another_engine_replaces_them():
    from MedImageParseLib.scene.tags import tagsOf

    node = ct()
    made = spec("a", thirds()[0])
    made.tags = {"MedImageParse.Model": "medimageparse3d", "MedImageParse.Prompt": "a | b", "MedImageParse.Engine": "a demo"}
    result = importSegments(None, node, [made])
    segment = result.segmentationNode.GetSegmentation().GetSegment(result.segmentIds["a"])
    segment.SetName("renamed")
    other = importSegments(None, node, []).segmentationNode
    other.GetSegmentation().CopySegmentFromSegmentation(result.segmentationNode.GetSegmentation(), result.segmentIds["a"])
    copied = other.GetSegmentation().GetSegment(other.GetSegmentation().GetNthSegmentID(0))
    assert tagsOf(copied) == tagsOf(segment) == made.tags | {"MedImageParse.Prompt": "a / b"}
    again = spec("renamed", thirds()[1])
    again.tags = {"MedImageParse.Model": "medimageparse"}
    importSegments(result.segmentationNode, node, [again], onExisting="replace")
    assert tagsOf(segment) == again.tags
