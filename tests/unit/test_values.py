"""Values of a whole room: scale, given sizes, reverberation by each method, and when to doubt it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from service.acoustics.reconstruct import reconstruct
from service.acoustics.reverberation import eyring, kuttruff, sabine
from service.acoustics.scene import NoRoom
from service.acoustics.values import Options
from tests.rooms import ABSORPTION
from tests.unit.test_reconstruct import BARE, CARPETED, FURNISHED, LIVING, STILL_AIR, rt60, views


def test_lengths_and_times_grow_with_the_scale() -> None:
    arrays = views(FURNISHED)
    one, other = (reconstruct(arrays, Options(scale=scale, air_per_m=STILL_AIR)) for scale in (1.0, 1.1))
    np.testing.assert_allclose(rt60(other), 1.1 * rt60(one), rtol=1e-5)
    assert other.room.volume_m3 == pytest.approx(1.1**3 * (one.room.volume_m3 or 0))
    assert other.room.surface_m2 == pytest.approx(1.1**2 * (one.room.surface_m2 or 0))
    np.testing.assert_allclose(other.positions, 1.1 * one.positions, rtol=1e-5)
    assert (other.room.metric, other.room.scale_source) == (True, "request")


def test_a_given_volume_or_surface_sets_an_unknown_scale() -> None:
    arrays = views(BARE)
    arrays["depth_map"] = arrays["depth_map"] / 3
    arrays["pose_enc"][:, :3] /= 3
    assert any("scale is not known" in warning for warning in reconstruct(arrays).warnings)
    for options in (Options(room_volume=90), Options(surface_area=126)):
        room = reconstruct(arrays, options).room
        assert room.dims_m == pytest.approx(room.dims_m and (*room.dims_m[:2], 3.0), rel=0.01)
        assert room.volume_m3 == pytest.approx(90, rel=0.01)
        assert room.surface_m2 == pytest.approx(126, rel=0.01)
        assert room.scale_source == "request"


def test_a_given_volume_and_surface_are_used_as_they_are() -> None:
    scene = reconstruct(views(BARE), Options(metric=True, room_volume=100, surface_area=150, air_per_m=STILL_AIR))
    assert (scene.room.volume_m3, scene.room.surface_m2) == (100, 150)
    mean = BARE.areas() @ ABSORPTION / BARE.areas().sum()
    np.testing.assert_allclose(rt60(scene), eyring(100, [150], mean[None], STILL_AIR), rtol=0.03)


def test_a_given_volume_and_surface_need_no_more_than_one_view() -> None:
    scene = reconstruct(views(CARPETED, 1), Options(metric=True, room_volume=90, surface_area=126))
    assert scene.room.seen_area_fraction < 0.5
    assert (rt60(scene) > 0).all()
    assert any("not seen" in warning or "was seen" in warning for warning in scene.warnings)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 100.0])
def test_rays_are_traced_in_rooms_of_any_size(scale: float) -> None:
    found = rt60(reconstruct(views(LIVING), Options(scale=scale, rt60_method="raytrace", air_per_m=STILL_AIR)))
    formula = rt60(reconstruct(views(LIVING), Options(scale=scale, air_per_m=STILL_AIR)))
    assert ((found > formula) & (found < 1.5 * formula)).all()


def test_a_volume_that_the_pictures_contradict_is_refused() -> None:
    with pytest.raises(NoRoom, match="does not fit"):
        reconstruct(views(BARE), Options(scale=1, room_volume=1000))
    assert reconstruct(views(BARE), Options(scale=1, room_volume=100)).room.volume_m3 == 100


def test_smooth_rooms_are_warned_of_where_a_formula_says_their_time() -> None:
    arrays = views(LIVING)

    def warned(scattering: float, method: str) -> bool:
        arrays["scattering"][:] = scattering
        scene = reconstruct(arrays, Options(metric=True, rt60_method=method))
        assert scene.room.rt60_method == method
        return any("smooth" in warning for warning in scene.warnings)

    assert warned(0.05, "eyring")
    assert not warned(0.05, "raytrace")
    assert not warned(0.4, "eyring")


@pytest.mark.parametrize(("method", "formula"), [("sabine", sabine), ("kuttruff", kuttruff)])
def test_reverberation_by_another_formula(method: str, formula: Callable[..., NDArray[np.float64]]) -> None:
    scene = reconstruct(views(BARE), Options(metric=True, rt60_method=method, air_per_m=STILL_AIR))
    assert scene.room.rt60_method == method
    np.testing.assert_allclose(rt60(scene), formula(90, BARE.areas(), ABSORPTION, STILL_AIR), rtol=0.03)


def test_traced_rays_agree_with_eyring_where_walls_and_objects_scatter() -> None:
    arrays = views(FURNISHED)
    arrays["scattering"][:] = 1
    by_eyring, traced = (
        rt60(reconstruct(arrays, Options(metric=True, rt60_method=method))) for method in ("eyring", "raytrace")
    )
    np.testing.assert_allclose(traced, by_eyring, rtol=0.15)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": 0}, "scale"),
        ({"scale": np.nan}, "scale"),
        ({"room_volume": -1}, "room_volume"),
        ({"surface_area": np.inf}, "surface_area"),
        ({"room_volume": 100, "surface_area": 50}, "sphere"),
        ({"rt60_method": "guess"}, "eyring"),
        ({"max_triangles": 11}, "12 triangles"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Options(**options)
