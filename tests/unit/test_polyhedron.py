"""What planes enclose."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.acoustics.polyhedron import MAX_PLANES, Polyhedron, box

ROOM = box((6, 5, 3))
FAR = (1.0, 0.0, 0.0, 50.0)  # a plane that encloses the room, and that nothing in it can touch


def tangents(seed: int, count: int) -> np.ndarray:
    """Planes [count, 4] that touch a sphere of 2 m around the origin."""
    normals = np.random.default_rng(seed).standard_normal((count, 3))
    return np.column_stack([normals / np.linalg.norm(normals, axis=1, keepdims=True), np.full(count, 2.0)])


def test_a_box_has_eight_corners() -> None:
    room = Polyhedron.enclosed(ROOM)
    corners = {tuple(float(value) for value in np.abs(corner).round(9)) for corner in room.vertices}
    assert corners == {(x, y, z) for x in (0.0, 6.0) for y in (0.0, 5.0) for z in (0.0, 3.0)}
    np.testing.assert_allclose(room.centre, [3, 2.5, 1.5])


def test_normals_have_any_length_and_planes_may_be_idle() -> None:
    room = Polyhedron.enclosed([*(ROOM * 7), FAR])
    np.testing.assert_allclose(room.planes[:6], ROOM)
    assert len(room.vertices) == 8


@settings(max_examples=30)
@given(st.integers(0, 2**32), st.integers(1, 20))
def test_corners_lie_on_planes_and_the_centre_within(seed: int, count: int) -> None:
    around = box((10, 10, 10))
    around[:, 3] = 5  # centred on the origin
    room = Polyhedron.enclosed(np.concatenate([tangents(seed, count), around]))
    distances = room.vertices @ room.planes[:, :3].T + room.planes[:, 3]
    assert distances.min() > -1e-4
    assert ((np.abs(distances) < 1e-4).sum(axis=1) >= 3).all()
    assert (room.planes[:, :3] @ room.centre + room.planes[:, 3] > 0).all()


@pytest.mark.parametrize(
    ("planes", "message"),
    [
        (ROOM[:5], "leave the room open"),
        (ROOM[:4], "leave the room open"),
        ([ROOM[0], ROOM[0], ROOM[1], ROOM[1]], "leave the room open"),
        (-ROOM, "no point lies inside"),
        ([*ROOM, (1, 0, 0, -7)], "no point lies inside"),
        ([*ROOM, (1, 0, 0, -6)], "0.01 to 10000 m in every direction"),
        (box((6, 5, 1e6)), "0.01 to 10000 m in every direction"),
        (np.zeros((6, 4)), "finite normal that is not zero"),
        (np.full((6, 4), np.nan), "finite normal that is not zero"),
        (ROOM[:3], "4 to 64 planes"),
        (ROOM[:, :3], "4 to 64 planes"),
        (tangents(0, MAX_PLANES + 1), "4 to 64 planes"),
    ],
)
def test_planes_that_enclose_no_room_are_refused(planes: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Polyhedron.enclosed(planes)
