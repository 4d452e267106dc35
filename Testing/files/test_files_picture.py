"""The picture: masks on the right side, upright, in true proportion, and every structure seen or said to be absent."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from PIL import Image
from test_files_read import AXIS_ORDERS, affines

from MedImageParseLib.errors import UsageError
from MedImageParseLib.files.picture import choose_panels, display_window, draw_panel, render_picture, write_picture
from MedImageParseLib.imaging.volume import CroppedMask, Volume

RED, GREEN, BLUE = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
# What each plane must show where: plane: (patient axis that runs right, its sign), (axis that runs down, its sign); RAS axes 0 to 2.
VIEWS = {"axial": ((0, -1), (1, -1)), "coronal": ((0, -1), (2, -1)), "sagittal": ((1, -1), (2, -1))}


def ball(volume: Volume, middle_ras: np.ndarray, radius: float) -> CroppedMask:
    """Voxels within `radius` mm of a point, found by their patient coordinates."""
    k, j, i = np.indices(volume.shape_kji)
    ras = np.einsum("ab,bkji->akji", volume.ijk_to_ras, np.stack([i, j, k, np.ones_like(i)]))[:3]
    return CroppedMask.from_full(np.linalg.norm(ras - np.reshape(middle_ras, (3, 1, 1, 1)), axis=0) <= radius)


def volume_with(affine: np.ndarray, shape_kji=(20, 24, 28)) -> tuple[Volume, np.ndarray]:
    """A grey volume with a gradient, and the point in its middle."""
    voxels = np.linspace(0, 200, int(np.prod(shape_kji))).reshape(shape_kji).astype(np.int16)
    return Volume(voxels, affine), (affine @ [*((np.array(shape_kji[::-1]) - 1) / 2), 1])[:3]


@pytest.mark.parametrize("number", range(len(AXIS_ORDERS)))
def test_a_structure_on_one_side_appears_on_that_side_in_all_48_orientations(number):
    order, signs = AXIS_ORDERS[number]
    affine = np.eye(4)
    affine[:3, :3] = np.eye(3)[:, order] * signs * 2.0
    volume, middle = volume_with(affine)
    offset = np.array([9.0, 6.0, 8.0])  # to the patient's right, to the front, up
    mask = ball(volume, middle + offset, 7.0)
    panels = choose_panels(volume, [mask])
    assert [panel.plane for panel in panels] == list(VIEWS)
    for panel in panels:
        size = round(panel.size_mm[1] * 4), round(panel.size_mm[0] * 4)
        [(_number, inside)] = draw_panel(volume, panel, [(RED, mask)], display_window(volume), size).shown
        rows, columns = np.nonzero(inside)
        (right_axis, right_sign), (down_axis, down_sign) = VIEWS[panel.plane]
        assert abs((columns.mean() + 0.5) / 4 - panel.size_mm[1] / 2 - right_sign * offset[right_axis]) < 0.6
        assert abs((rows.mean() + 0.5) / 4 - panel.size_mm[0] / 2 - down_sign * offset[down_axis]) < 0.6
        assert panel.letters == {"axial": "RLAP", "coronal": "RLSI", "sagittal": "APSI"}[panel.plane]


@settings(deadline=None, max_examples=25)
@given(affine=affines())
def test_any_oblique_or_sheared_volume_can_be_drawn_with_every_found_structure_seen(affine):
    volume, middle = volume_with(affine, (9, 11, 13))
    reach = float(volume.spacing_ijk.max())
    masks = [ball(volume, middle, 2 * reach), ball(volume, (affine @ [12, 10, 8, 1])[:3], 1.2 * reach), CroppedMask.empty(volume.shape_kji)]
    panels = choose_panels(volume, masks)
    seen = {
        number
        for panel in panels
        for number, _inside in draw_panel(volume, panel, [(RED, mask) for mask in masks], display_window(volume), (120, 90)).shown
    }
    assert seen == {0, 1}


def test_the_written_picture_has_the_colors_of_what_was_found_and_nothing_of_what_was_not(tmp_path):
    volume, middle = volume_with(np.diag([-2.0, -2.0, 2.0, 1.0]))
    masks = [
        ("left", RED, ball(volume, middle - [12, 0, 0], 6)),
        ("right", GREEN, ball(volume, middle + [12, 0, 0], 6)),
        ("unicorn", BLUE, CroppedMask.empty(volume.shape_kji)),
    ]
    path = write_picture(tmp_path / "out.png", volume, masks, title="A title")
    pixels = np.asarray(Image.open(path)).astype(int)
    red, green, blue = (np.all(pixels == np.array(color) * 255, axis=2) for color in (RED, GREEN, BLUE))
    assert red.sum() > 50 and green.sum() > 50 and not blue.any()
    assert Image.open(path).info == {}  # nothing in the file but the picture
    top = slice(0, pixels.shape[0] // 2)  # the axial panel is the first, at the left
    half = slice(0, pixels.shape[1] // 2)
    assert np.nonzero(green[top, half])[1].mean() < np.nonzero(red[top, half])[1].mean()


def test_millimetres_are_square_in_every_panel():
    volume = Volume(np.zeros((10, 40, 30), np.int16), np.diag([1.0, 0.5, 7.0, 1.0]))
    sizes = {panel.plane: panel.size_mm for panel in choose_panels(volume, [])}
    assert sizes == {"axial": (20.0, 30.0), "coronal": (70.0, 30.0), "sagittal": (70.0, 20.0)}


def test_structures_that_no_shared_slice_shows_get_axial_slices_of_their_own():
    volume, _middle = volume_with(np.eye(4), (60, 60, 60))
    corners = [np.array(corner, float) for corner in ((5, 5, 5), (55, 30, 20), (30, 55, 35), (10, 40, 55), (50, 10, 45))]
    masks = [ball(volume, corner, 4) for corner in corners]
    panels = choose_panels(volume, masks)
    assert 3 < len(panels) <= 6
    seen = {
        number
        for panel in panels
        for number, mask in enumerate(masks)
        if mask.full().take(panel.index, axis="kji".index(panel.axis_name)).any()
    }
    assert seen == set(range(5))


def test_a_single_slice_and_a_picture_are_one_panel_and_a_picture_is_never_turned():
    single = Volume(np.zeros((1, 30, 40), np.int16), np.diag([2.0, 2.0, 5.0, 1.0]))
    assert [panel.plane for panel in choose_panels(single, [])] == ["axial"]
    sagittal = Volume(np.zeros((30, 40, 1), np.int16), np.eye(4))
    assert [panel.plane for panel in choose_panels(sagittal, [])] == ["sagittal"]
    mask = np.zeros((1, 20, 30), np.uint8)
    mask[0, :5, 20:] = 1
    picture = Volume(np.full((1, 20, 30, 3), 90, np.uint8), np.diag([-1.0, -1.0, 1.0, 1.0]), is_picture=True)
    [panel] = choose_panels(picture, [CroppedMask.from_full(mask)])
    raster = draw_panel(picture, panel, [(RED, CroppedMask.from_full(mask))], display_window(picture), (30, 20))
    assert np.array_equal(raster.shown[0][1], mask[0].astype(bool)) and panel.letters == ""
    assert np.all(raster.pixels[~mask[0].astype(bool)] == 90)


def test_ct_is_shown_in_a_soft_tissue_window():
    voxels = np.full((12, 12, 12), -1000, np.int16)
    voxels[:, 3:9, 3:9] = 40
    volume = Volume(voxels, np.eye(4))
    [panel, *_others] = choose_panels(volume, [])
    pixels = draw_panel(volume, panel, [], display_window(volume), (12, 12)).pixels
    assert pixels[0, 0].max() == 0 and np.all(np.abs(pixels[6, 6].astype(int) - 127) <= 1)


@pytest.mark.parametrize(
    "voxels",
    [
        np.zeros((5, 6, 7), np.uint8),
        np.full((5, 6, 7), -3.5, np.float32),
        np.zeros((1, 1, 1), np.int16),
        np.zeros((1, 2000, 17), np.uint8),
        np.full((4, 5, 6, 3), 40000, np.uint16),
        np.zeros((300, 4, 4), np.int64),
    ],
)
def test_constant_tiny_long_and_color_volumes_are_drawn_too(voxels):
    sheet = render_picture(Volume(voxels), [("a name " * 60, GREEN, CroppedMask.from_full(np.ones(voxels.shape[:3])))], title="t " * 400)
    assert 500 < sheet.width <= 1900 and sheet.height < 3000


def test_a_picture_for_a_missing_folder_or_of_another_kind_is_refused(tmp_path):
    volume, _middle = volume_with(np.eye(4))
    for path, words in ((tmp_path / "a.jpg", "must end with .png"), (tmp_path / "no" / "a.png", "does not exist")):
        with pytest.raises(UsageError, match=words):
            write_picture(path, volume, [])


def test_reference_ct_shows_liver_on_the_patients_right_and_spleen_on_the_left(shared_data):
    from MedImageParseLib.files.read import read_image

    volume, labels = (read_image(shared_data / name)[0] for name in ("ct_abdomen_3mm.nii.gz", "ct_abdomen_3mm_labels.nii.gz"))
    masks = [(RED, CroppedMask.from_full(labels.voxels == 5)), (GREEN, CroppedMask.from_full(labels.voxels == 1))]
    axial = choose_panels(volume, [mask for _color, mask in masks])[0]
    shown = dict(draw_panel(volume, axial, masks, display_window(volume), (488, 404)).shown)
    assert np.nonzero(shown[0])[1].mean() < 200 < 300 < np.nonzero(shown[1])[1].mean()  # liver at the left of the picture
    assert np.nonzero(shown[1])[0].mean() > 202  # spleen in the back: below the middle


def test_a_structures_number_stands_where_no_smaller_structure_lies(monkeypatch):
    """A body's thickest place is in the middle of the organs in it: the number there would read as theirs."""
    from PIL import ImageDraw

    from MedImageParseLib.files import picture

    rows, columns = np.indices((400, 400))
    body, organ = np.hypot(rows - 200, columns - 200) < 190, np.hypot(rows - 200, columns - 200) < 110
    said = {}
    monkeypatch.setattr(ImageDraw.ImageDraw, "text", lambda self, place, text, *more, **rest: said.update({text: place}))
    raster = picture.Raster(np.zeros((400, 400, 3), np.uint8), [(0, body), (1, organ)])
    sheet = Image.new("RGB", (400, 400))
    picture._number(ImageDraw.Draw(sheet), raster, 0, 0)
    (body_x, body_y), (organ_x, organ_y) = said["1"], said["2"]
    assert organ[int(organ_y), int(organ_x)]
    assert body[int(body_y), int(body_x)] and not organ[int(body_y), int(body_x)]
