"""Cells of the hull, objects, and the mesh made of them."""

import numpy as np
import pytest
from numpy.typing import NDArray

from service.acoustics.geometry import Cameras, mesh_volume
from service.acoustics.materials import group
from service.acoustics.mesh import Mesh, build_mesh
from service.acoustics.room import SIDES, fit_hull
from service.acoustics.samples import ABSORPTION, sample
from service.acoustics.surfaces import Surfaces, cell_areas, cell_points, side_counts, survey
from tests.rooms import ABSORPTION as ALPHA
from tests.rooms import BRICK, CARPET, CURTAIN, PLASTER, WOOD, Box, BoxRoom, cameras, maps

BARE = BoxRoom((6, 5, 3), (PLASTER, PLASTER, WOOD, PLASTER, CARPET, BRICK))
RUG = BoxRoom((6, 5, 3), (PLASTER,) * 4 + (WOOD, PLASTER), rug=(2.0, 1.5, 4.0, 3.5, CARPET))
FURNISHED = BoxRoom(
    (5, 4, 2.6),
    (PLASTER, PLASTER, BRICK, PLASTER, WOOD, PLASTER),
    (
        Box((1, 2, 0.25), (2, 1.6, 0.5), CARPET),
        Box((4.7, 1, 1), (0.6, 1.5, 2), WOOD),
        Box((3.2, 2.6, 0.4), (0.9, 0.8, 0.8), CURTAIN, 0.5),
    ),
)


def surfaces_of(room: BoxRoom, views: int = 6, seed: int = 0) -> Surfaces:
    arrays = maps(room, cameras(room, views, np.random.default_rng(seed)))
    height, width = arrays["depth_map"].shape[1:3]
    found = Cameras.decode(arrays["pose_enc"], height, width)[0]
    samples = sample(arrays, found, range(views))
    hull = fit_hull(samples, found)
    return survey(samples, hull, group(samples.properties, samples.areas(samples.normals)))


def edges(mesh: Mesh) -> NDArray[np.int64]:
    """[E] how many triangles each edge has."""
    pairs = np.sort(mesh.triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    return np.unique(pairs, axis=0, return_counts=True)[1]


def test_cells_tile_the_hull() -> None:
    surfaces = surfaces_of(BARE)
    hull, counts = surfaces.hull, surfaces.counts
    assert cell_areas(hull, counts).sum() == pytest.approx(hull.sizes().sum())
    points = cell_points(hull, counts)
    assert points.shape == (sum(side_counts(counts)), 9, 3)
    plane = surfaces.plane[: len(points)]
    for side in range(SIDES):
        np.testing.assert_allclose(points[plane == side] @ hull.normal(side), hull.offset(side), atol=1e-9)


def test_every_side_has_the_absorption_of_its_material_where_it_was_seen_and_where_not() -> None:
    surfaces = surfaces_of(BARE, views=4)
    assert 0.5 < surfaces.seen_fraction < 0.95
    floor, ceiling = (surfaces.plane == side for side in (SIDES - 2, SIDES - 1))
    for side, material in ((floor, CARPET), (ceiling, BRICK)):
        mean = surfaces.area[side] @ surfaces.properties[side, ABSORPTION] / surfaces.area[side].sum()
        np.testing.assert_allclose(mean, ALPHA[material], atol=0.02)


def test_a_rug_counts_by_its_area() -> None:
    surfaces = surfaces_of(RUG, views=8)
    mean = surfaces.area @ surfaces.properties[:, ABSORPTION] / surfaces.area.sum()
    np.testing.assert_allclose(mean, RUG.areas() @ ALPHA / RUG.areas().sum(), rtol=0.05)
    areas = np.sort(surfaces.area @ surfaces.shares)
    np.testing.assert_allclose(areas[0], 4, rtol=0.15)


def test_objects_have_their_size_and_what_they_cover_is_gone() -> None:
    surfaces = surfaces_of(FURNISHED, views=8)
    objects = surfaces.objects
    assert len(objects.low) == 3
    sizes = sorted(tuple(sorted(size)) for size in np.round(objects.high - objects.low, 2).tolist())
    expected = sorted(tuple(sorted(box.size)) for box in FURNISHED.boxes)
    np.testing.assert_allclose(sizes, expected, atol=0.25)
    air = FURNISHED.volume - sum(float(np.prod(box.size)) for box in FURNISHED.boxes)
    assert surfaces.volume == pytest.approx(air, rel=0.03)
    assert surfaces.area.sum() == pytest.approx(FURNISHED.areas().sum(), rel=0.08)


@pytest.mark.parametrize("room", [BARE, RUG, FURNISHED])
@pytest.mark.parametrize("budget", [12, 30, 100, 1000])
def test_the_mesh_is_closed_faces_the_air_and_keeps_its_budget(room: BoxRoom, budget: int) -> None:
    surfaces = surfaces_of(room)
    mesh = build_mesh(surfaces, budget)
    assert 12 <= len(mesh.triangles) <= budget
    assert (edges(mesh) == 2).all()
    corner = mesh.positions[mesh.triangles]
    normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    for side in range(SIDES):
        assert (normal[mesh.plane == side] @ surfaces.hull.normal(side) > 0).all()
    kept = np.unique(mesh.plane[mesh.plane >= SIDES] // SIDES - 1)
    boxes = np.prod(surfaces.objects.high - surfaces.objects.low, axis=1)[kept].sum()
    assert mesh_volume(mesh.positions, mesh.triangles) == pytest.approx(surfaces.hull.volume - boxes, rel=1e-9)
    assert mesh.dropped == len(surfaces.objects.low) - len(kept)


def test_a_room_of_one_material_a_side_is_a_box_of_twelve_triangles() -> None:
    mesh = build_mesh(surfaces_of(BARE), 1000)
    assert len(mesh.triangles) == 12


def test_the_mesh_shows_the_rug_where_it_lies() -> None:
    surfaces = surfaces_of(RUG, views=8)
    mesh = build_mesh(surfaces, 1000)
    rug = int((surfaces.area @ surfaces.shares).argmin())
    corner = mesh.positions[mesh.triangles[mesh.material == rug]]
    area = np.linalg.norm(np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]), axis=1).sum() / 2
    assert area == pytest.approx(4, rel=0.35)  # cells are of 0.42 m
    assert (mesh.plane[mesh.material == rug] == SIDES - 2).all()
