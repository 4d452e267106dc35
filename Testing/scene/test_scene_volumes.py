"""Volume nodes to arrays and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("slicer", reason="slicer-core is not installed: there is no MRML to test against")

from scene_support import GEOMETRIES, RAS_TO_LPS, linear_transform, oblique, orientations

from MedImageParseLib.errors import InputError
from MedImageParseLib.imaging.volume import Volume
from MedImageParseLib.scene import session
from MedImageParseLib.scene.volumes import modalityOf, nodeFromVolume, volumeFromNode

DTYPES = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64")


@pytest.fixture(autouse=True, scope="module")
def scene():
    yield session.newScene()
    session.closeScene()


def random_voxels(shape, dtype, seed=0) -> np.ndarray:
    random = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return random.normal(0, 1000, shape).astype(dtype)
    limits = np.iinfo(dtype)
    return random.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)


def round_trip(volume: Volume) -> Volume:
    node = nodeFromVolume(volume, "volume")
    back = volumeFromNode(node)
    node.GetScene().RemoveNode(node)
    return back


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_voxel_type_comes_back_exactly(dtype):
    volume = Volume(random_voxels((4, 5, 6), dtype), oblique())
    back = round_trip(volume)
    assert back.voxels.dtype == np.dtype(dtype)
    assert np.array_equal(back.voxels, volume.voxels)


def test_all_48_orientations_come_back_exactly():
    for number, affine in enumerate(orientations()):
        volume = Volume(random_voxels((2, 3, 4), DTYPES[number % len(DTYPES)], number), affine)
        back = round_trip(volume)
        assert np.array_equal(back.voxels, volume.voxels)
        assert np.allclose(back.ijk_to_ras, affine, rtol=0, atol=1e-12)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shape=st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 5)),
    angles=st.tuples(*[st.floats(-3, 3)] * 3),
    spacing=st.tuples(*[st.floats(0.05, 12)] * 3),
    shear=st.floats(-0.8, 0.8),
    left_handed=st.booleans(),
    color=st.booleans(),
)
def test_any_size_and_geometry_comes_back(shape, angles, spacing, shear, left_handed, color):
    affine = oblique(angles, spacing, left_handed=left_handed, shear=shear)
    voxels = random_voxels(shape + ((3,) if color else ()), "uint8" if color else "int16")
    back = round_trip(Volume(voxels, affine))
    assert back.voxels.shape == voxels.shape
    assert np.array_equal(back.voxels, voxels)
    assert np.allclose(back.ijk_to_ras, affine, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", GEOMETRIES)
def test_a_node_written_by_slicer_lies_where_simpleitk_expects_it(name, tmp_path):
    import SimpleITK
    import slicer

    affine = GEOMETRIES[name]
    voxels = random_voxels((4, 5, 6), "int16")
    node = nodeFromVolume(Volume(voxels, affine), "volume")
    storage_node = slicer.vtkMRMLNRRDStorageNode()
    storage_node.SetFileName(str(tmp_path / "volume.nrrd"))
    assert storage_node.WriteData(node)
    image = SimpleITK.ReadImage(str(tmp_path / "volume.nrrd"))
    assert np.array_equal(SimpleITK.GetArrayFromImage(image), voxels)
    for ijk in ((0, 0, 0), (5, 0, 0), (0, 4, 0), (0, 0, 3), (5, 4, 3)):
        expected = RAS_TO_LPS @ affine @ (*ijk, 1)
        assert np.allclose(image.TransformIndexToPhysicalPoint(ijk), expected[:3], atol=1e-4)


@pytest.mark.parametrize("name", ["plain", "oblique", "left-handed"])
def test_a_nifti_file_read_by_slicer_has_nibabels_affine_and_voxels(name, tmp_path):
    import nibabel
    import slicer

    affine = GEOMETRIES[name]
    voxels_ijk = random_voxels((6, 5, 4), "int16")
    nibabel.save(nibabel.Nifti1Image(voxels_ijk, affine), tmp_path / "volume.nii")
    node = session.ensureScene().AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    storage_node = slicer.vtkMRMLVolumeArchetypeStorageNode()
    storage_node.SetFileName(str(tmp_path / "volume.nii"))
    assert storage_node.ReadData(node)
    volume = volumeFromNode(node)
    for ijk in ((0, 0, 0), (5, 4, 3), (2, 3, 1)):
        ras = nibabel.affines.apply_affine(affine, ijk)
        i, j, k = np.rint(np.linalg.solve(volume.ijk_to_ras, (*ras, 1))[:3]).astype(int)
        assert np.allclose(volume.ijk_to_ras @ (i, j, k, 1), (*ras, 1), atol=1e-3)
        assert volume.voxels[k, j, i] == voxels_ijk[ijk]


def test_the_voxels_are_a_copy_that_the_scene_cannot_change():
    import slicer

    node = nodeFromVolume(Volume(np.zeros((3, 3, 3), np.int16)), "volume")
    kept, seen = volumeFromNode(node).voxels, volumeFromNode(node, copy=False).voxels
    slicer.util.arrayFromVolume(node)[:] = 7
    assert (kept == 0).all() and (seen == 7).all()
    assert kept.flags.owndata


def test_the_node_does_not_change_with_the_array_it_was_made_from():
    voxels = np.zeros((3, 3, 3), np.float32)
    node = nodeFromVolume(Volume(voxels), "volume")
    voxels[:] = 5
    assert (volumeFromNode(node).voxels == 0).all()


def test_parent_transforms_are_not_applied():
    affine = oblique()
    node = nodeFromVolume(Volume(np.zeros((3, 4, 5), np.int16), affine), "volume")
    moved = np.eye(4)
    moved[:3, 3] = (100, 0, 0)
    node.SetAndObserveTransformNodeID(linear_transform(node.GetScene(), moved).GetID())
    assert np.allclose(volumeFromNode(node).ijk_to_ras, affine, atol=1e-12)


def test_awkward_arrays_are_stored_by_value():
    base = random_voxels((6, 5, 4), "int16")
    for voxels in (base.T, base[::-1, ::2], base.astype(">i2"), base > 0, (base / 64).astype(np.float16)):
        assert np.array_equal(round_trip(Volume(voxels)).voxels, voxels)


def test_a_volume_whose_first_voxel_is_not_index_zero_keeps_its_place():
    node = nodeFromVolume(Volume(random_voxels((3, 4, 5), "int16"), oblique()), "volume")
    node.GetImageData().SetExtent(2, 6, 1, 4, 10, 12)
    expected = oblique() @ (2, 1, 10, 1)
    assert np.allclose(volumeFromNode(node).ijk_to_ras[:, 3], expected)


def test_transparency_is_dropped_and_other_vectors_are_refused():
    import vtk
    from vtk.util.numpy_support import numpy_to_vtk

    for components in (2, 4, 6):
        values = random_voxels((2 * 3 * 4, components), "uint8")
        image = vtk.vtkImageData()
        image.SetDimensions(4, 3, 2)
        image.GetPointData().SetScalars(numpy_to_vtk(values, deep=True))
        node = session.ensureScene().AddNewNodeByClass("vtkMRMLVectorVolumeNode", "field")
        node.SetAndObserveImageData(image)
        if components == 4:
            assert np.array_equal(volumeFromNode(node).voxels, values.reshape(2, 3, 4, 4)[..., :3])
        else:
            with pytest.raises(InputError, match=f"{components} values per voxel"):
                volumeFromNode(node)


def test_no_volume_and_empty_volumes_are_told_in_a_sentence():
    scene = session.ensureScene()
    for node in (None, scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode"), scene.AddNewNodeByClass("vtkMRMLTextNode")):
        with pytest.raises(InputError, match="select"):
            volumeFromNode(node)


def test_a_type_that_vtk_cannot_hold_is_told_in_a_sentence():
    with pytest.raises(InputError, match="convert"):
        nodeFromVolume(Volume(np.zeros((2, 2, 2), np.longdouble)), "volume")


def test_the_modality_survives_the_round_trip():
    node = nodeFromVolume(Volume(np.zeros((2, 2, 2)), modality="MR"), "volume")
    assert volumeFromNode(node).modality == "MR"
    assert volumeFromNode(nodeFromVolume(Volume(np.zeros((2, 2, 2))), "volume")).modality == ""


def test_the_modality_is_found_where_the_dicom_browser_puts_it():
    import slicer

    scene = session.ensureScene()
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    node = nodeFromVolume(Volume(np.zeros((2, 2, 2))), "volume")
    item = hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)
    hierarchy.SetItemAttribute(item, slicer.vtkMRMLSubjectHierarchyConstants.GetDICOMSeriesModalityAttributeName(), "US")
    assert modalityOf(node) == "US"


def test_hounsfield_units_mean_ct():
    import slicer

    node = nodeFromVolume(Volume(np.zeros((2, 2, 2))), "volume")
    units = slicer.vtkCodedEntry()
    units.SetValueSchemeMeaning("[hnsf'U]", "UCUM", "Hounsfield unit")
    node.SetVoxelValueUnits(units)
    assert modalityOf(node) == "CT"


def test_a_volume_from_a_2d_image_file_is_marked_as_a_picture():
    import slicer

    # slicer-core has no PNG reader, so the node is made here and only told which file it came from.
    for file_name, slices, expected in (("photo.png", 1, True), ("X-RAY.JPG", 1, True), ("stack.tif", 4, False), ("slice.nrrd", 1, False)):
        node = nodeFromVolume(Volume(random_voxels((slices, 9, 7, 3), "uint8")), "image")
        storage_node = slicer.vtkMRMLVolumeArchetypeStorageNode()
        storage_node.SetFileName(file_name)
        node.GetScene().AddNode(storage_node)
        node.SetAndObserveStorageNodeID(storage_node.GetID())
        assert volumeFromNode(node).is_picture is expected, file_name
