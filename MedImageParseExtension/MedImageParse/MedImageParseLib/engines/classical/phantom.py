"""A CT of a torso made of simple shapes, with the truth of what is where: something to try the whole path on without a patient.

Values are Hounsfield units as in a portal venous phase. The grid is oblique on purpose (16 degrees) and its origin is far from
zero, so that a mistake in geometry shows at once. Every number comes from the shapes below and a fixed seed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SHAPE_KJI = (76, 130, 160)
SPACING_IJK_MM = (2.6, 2.6, 3.5)
MIDDLE_RAS_MM = (12.5, -31.0, 640.0)  # where the middle of the grid lies in the patient
TILT_DEGREES = 16.0
NOISE_HU = 12.0
SEED = 20240611
_TILT_AXIS = np.array([0.88, 0.42, 0.2])


@dataclass(slots=True, frozen=True)
class Phantom:
    """A made-up CT.

    Attributes:
        voxels: int16 kji, HU.
        ijk_to_ras: 4x4, mm; oblique.
        references: masks (bool kji) by name: body, lungs, left lung, right lung, airways, bones, liver, spleen, kidneys,
            left kidney, right kidney.
    """

    voxels: np.ndarray
    ijk_to_ras: np.ndarray
    references: dict[str, np.ndarray]


def make_phantom() -> Phantom:
    """Make the phantom; the same one every time. Takes a second or two."""
    from scipy.ndimage import gaussian_filter

    matrix = oblique_matrix()
    painter = _Painter(matrix, *_patient_coordinates(matrix))
    _paint_trunk(painter)
    _paint_chest(painter)
    _paint_abdomen(painter)
    _paint_skeleton(painter)
    clean = gaussian_filter(painter.hu, 0.5)  # edges share their voxels, as in a scanner
    noise = np.random.default_rng(SEED).normal(0.0, NOISE_HU, clean.shape)
    voxels = np.clip(np.rint(clean + noise), -1024, 3071).astype(np.int16)
    return Phantom(voxels, matrix, painter.references())


def oblique_matrix() -> np.ndarray:
    """ijk_to_ras: rows and columns as a scanner gives them (i to the left, j to the back, k up), then turned by 16 degrees."""
    axis = _TILT_AXIS / np.linalg.norm(_TILT_AXIS)
    angle = np.radians(TILT_DEGREES)
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    rotation = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)
    matrix = np.eye(4)
    matrix[:3, :3] = rotation @ np.diag([-1.0, -1.0, 1.0]) * np.array(SPACING_IJK_MM)
    matrix[:3, 3] = np.array(MIDDLE_RAS_MM) - matrix[:3, :3] @ ((np.array(SHAPE_KJI[::-1]) - 1) / 2)
    return matrix


def _patient_coordinates(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x to the right, y to the front, z up, in mm from the middle of the body, one float32 kji array each."""
    k, j, i = (grid.astype(np.float32) for grid in np.meshgrid(*(np.arange(size) for size in SHAPE_KJI), indexing="ij"))
    return tuple(
        (matrix[row, 0] * i + matrix[row, 1] * j + matrix[row, 2] * k + matrix[row, 3] - MIDDLE_RAS_MM[row]).astype(np.float32)
        for row in range(3)
    )


class _Painter:
    """Paints shapes over one another, the later on top, and remembers which organ a voxel belongs to."""

    ORGANS = ("body", "right lung", "left lung", "airways", "bones", "liver", "spleen", "right kidney", "left kidney")

    def __init__(self, matrix: np.ndarray, x: np.ndarray, y: np.ndarray, z: np.ndarray):
        self.x, self.y, self.z = x, y, z
        self._to_index = np.linalg.inv(matrix)
        self._trunks: dict[float, np.ndarray] = {}
        self.hu = np.full(x.shape, -1000.0, np.float32)
        self._organ = np.zeros(x.shape, np.uint8)

    def paint(self, inside: np.ndarray, hu: float, organ: str = "body") -> None:
        self.hu[inside] = hu
        self._organ[inside] = self.ORGANS.index(organ) + 1

    def paint_outside_patient(self, inside: np.ndarray, hu: float) -> None:
        self.hu[inside] = hu

    def ellipsoid(self, middle: tuple[float, float, float], radii: tuple[float, float, float]) -> np.ndarray:
        inside = np.zeros(self.x.shape, bool)
        box = self._box(middle, radii)
        inside[box] = sum(((axis[box] - at) / radius) ** 2 for axis, at, radius in zip((self.x, self.y, self.z), middle, radii)) <= 1
        return inside

    def _box(self, middle: tuple[float, float, float], radii: tuple[float, float, float]) -> tuple[slice, ...]:
        """The part of the grid, kji, outside of which no voxel is within `radii` of `middle`: most shapes fill little of it."""
        centre = (self._to_index @ [*np.add(middle, MIDDLE_RAS_MM), 1.0])[:3]
        reach = np.abs(self._to_index[:3, :3]) @ radii + 1
        low = np.maximum(np.floor(centre - reach), 0).astype(int)
        high = np.maximum(np.ceil(centre + reach) + 1, 0).astype(int)
        return tuple(slice(start, stop) for start, stop in zip(low[::-1], high[::-1]))

    def trunk(self, shrink: float) -> np.ndarray:
        """The trunk's cross-section (a rounded ellipse, 340 x 230 mm at the skin), `shrink` mm below the skin."""
        if shrink not in self._trunks:
            self._trunks[shrink] = (np.abs(self.x) / (170 - shrink)) ** 2.4 + (np.abs(self.y + 5) / (115 - shrink)) ** 2.4 <= 1
        return self._trunks[shrink]

    def tube(self, x: float | np.ndarray, y: float | np.ndarray, radius: float) -> np.ndarray:
        return (self.x - x) ** 2 + (self.y - y) ** 2 <= radius**2

    def is_organ(self, *organs: str) -> np.ndarray:
        return np.isin(self._organ, [self.ORGANS.index(organ) + 1 for organ in organs])

    def references(self) -> dict[str, np.ndarray]:
        masks = {organ: self.is_organ(organ) for organ in self.ORGANS[1:]}
        masks["body"] = self._organ > 0
        masks["lungs"] = masks["left lung"] | masks["right lung"]
        masks["kidneys"] = masks["left kidney"] | masks["right kidney"]
        return masks


def _paint_trunk(painter: _Painter) -> None:
    painter.paint_outside_patient((np.abs(painter.x) < 200) & (np.abs(painter.y + 136) < 4), -150.0)  # the table
    painter.paint(painter.trunk(0), 10.0)  # skin
    painter.paint(painter.trunk(3), -100.0)  # fat under the skin
    painter.paint(painter.trunk(18), 55.0)  # muscle of the wall
    painter.paint(painter.trunk(32), 40.0)  # what lies within the chest
    painter.paint(painter.trunk(32) & (painter.z < 45), -92.0)  # fat between the organs of the belly
    painter.paint(painter.trunk(24) & (painter.z - 0.45 * painter.y < -45), -92.0)  # below the ribs the wall is thinner
    for side in (1, -1):
        painter.paint(painter.ellipsoid((side * 42, -84, 0), (28, 13, 400)) & painter.trunk(18), 60.0)  # back muscles


def _paint_chest(painter: _Painter) -> None:
    within = painter.trunk(33)
    for side, organ in ((1, "right lung"), (-1, "left lung")):
        diaphragm = 58 - 0.012 * ((painter.x - side * 66) ** 2 + (painter.y - 8) ** 2)
        reaches = painter.ellipsoid((side * 72, 0, 125), (75, 100, 135)) & within & (side * painter.x > 24)
        lung = reaches & (painter.z > diaphragm)
        painter.paint(reaches & ~lung & (painter.z > diaphragm - 5), 45.0)
        painter.paint(lung, -850.0, organ)
        for branch in range(5):  # vessels that thin out from the hilum
            at = (side * (52 + 9 * branch), -30 + 17 * branch, 72 + 5 * branch)
            painter.paint(painter.ellipsoid(at, (16, 4.5, 4.5)) & lung, 60.0)
    painter.paint(painter.ellipsoid((-22, 22, 78), (52, 46, 44)) & within, 150.0)  # heart
    painter.paint((painter.z > 88) & painter.tube(0, -2, 9), -1000.0, "airways")
    for side in (1, -1):
        slanted = side * (5 + (88 - painter.z) * 0.9)
        bronchus = (painter.z <= 92) & (painter.z > 60) & (((painter.x - slanted) * 0.75) ** 2 + (painter.y + 6) ** 2 <= 36)
        painter.paint(bronchus, -1000.0, "airways")


def _paint_abdomen(painter: _Painter) -> None:
    within = painter.trunk(33)
    liver = painter.ellipsoid((66, 8, 8), (72, 74, 62)) | painter.ellipsoid((8, 40, 22), (62, 34, 28))
    painter.paint(painter.ellipsoid((-48, 30, 18), (40, 36, 34)) & within & ~liver, 45.0)  # stomach
    gas = painter.ellipsoid((-48, 30, 18), (34, 30, 28)) & ~painter.ellipsoid((8, 40, 22), (66, 38, 32))
    painter.paint(gas, 12.0)
    painter.paint(gas & (painter.y > 36), -950.0)  # gas above its fluid
    painter.paint(painter.ellipsoid((-98, -44, 22), (30, 38, 46)) & within, 122.0, "spleen")
    painter.paint(liver & within, 108.0, "liver")
    for vein in range(3):
        painter.paint(painter.ellipsoid((48 + 14 * vein, 12 - 12 * vein, 22), (5, 22, 5)), 150.0, "liver")
    for side, organ, height in ((1, "right kidney", -52), (-1, "left kidney", -42)):
        at = (side * 61, -55, height)
        around = painter.ellipsoid(at, (40, 34, 64)) & ~painter.is_organ("liver", "spleen") | painter.ellipsoid(at, (34, 30, 59))
        painter.paint(around & within, -98.0)  # the fat around it keeps it off liver and spleen
        painter.paint(painter.ellipsoid(at, (29, 24, 54)), 185.0, organ)
        painter.paint(painter.ellipsoid((side * 37, -52, height), (12, 7, 14)), -40.0)  # its fatty sinus
    _paint_bowel(painter, within)
    painter.paint(painter.tube(-12, -31, 11) & (painter.z < 130), 160.0)  # aorta
    painter.paint(painter.tube(24, -30, 11) & (painter.z < 50) & ~painter.is_organ("liver"), 150.0)  # inferior vena cava


def _paint_bowel(painter: _Painter, within: np.ndarray) -> None:
    room = within & ~painter.is_organ("liver", "spleen", "right kidney", "left kidney")
    places = np.random.default_rng(SEED).uniform((-95, 0, -135), (95, 65, -25), (36, 3))
    for number, at in enumerate(places):
        painter.paint(painter.ellipsoid(tuple(at), (20, 15, 13) if number % 2 else (14, 13, 21)) & room, 38.0)
    for at, radius in (((34, 58, -78), 15), ((-44, 56, -92), 17), ((100, 20, -92), 18), ((-106, 10, -84), 16)):
        painter.paint(painter.ellipsoid(at, (radius + 4,) * 3) & room, 35.0)  # colon
        painter.paint(painter.ellipsoid(at, (radius,) * 3) & room, -930.0)


def _paint_skeleton(painter: _Painter) -> None:
    x, y, z = painter.x, painter.y, painter.z
    level = np.mod(z + 200, 31) - 15.5  # mm from the middle of a vertebra
    body = (x / 23) ** 2 + ((y + 66) / 18) ** 2
    painter.paint(body <= 1, 90.0)  # discs
    painter.paint((body <= 1) & (np.abs(level) < 12), 520.0, "bones")
    painter.paint((body <= 0.74) & (np.abs(level) < 9.5), 240.0, "bones")
    arch = painter.tube(0, -88, 15) & ~painter.tube(0, -88, 9) & (np.abs(level) < 11) & (body > 1)
    painter.paint(arch, 480.0, "bones")
    painter.paint(painter.tube(0, -88, 9) & (body > 1), 30.0)  # spinal canal
    painter.paint((np.abs(x) < 4) & (np.abs(y + 104) < 9) & (np.abs(level + 3) < 8) & painter.trunk(4), 420.0, "bones")
    painter.paint((np.abs(np.abs(x) - 26) < 13) & (np.abs(y + 86) < 4) & (np.abs(level) < 5), 420.0, "bones")
    slope = np.mod(z - 0.45 * y + 200, 27) - 13.5  # ribs run down towards the front
    wall = painter.trunk(22) & ~painter.trunk(31) & (z - 0.45 * y > -35) & (np.abs(x) > 30)
    painter.paint(wall & (np.abs(slope) < 6), 560.0, "bones")
    painter.paint(painter.trunk(24) & ~painter.trunk(29) & wall & (np.abs(slope) < 3.5), 300.0, "bones")
    painter.paint(painter.trunk(21) & ~painter.trunk(31) & (np.abs(x) < 17) & (y > 60) & (z > 45), 360.0, "bones")  # sternum
