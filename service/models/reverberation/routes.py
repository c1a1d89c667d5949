"""POST /v1/reverberation in its steps."""

from typing import Annotated

from fastapi import APIRouter, Query

from service.models.reverberation import openapi
from service.models.reverberation.answers import answer
from service.models.reverberation.bodies import read_room
from service.models.reverberation.decays import decay_times
from service.models.reverberation.describe import NAME
from service.models.reverberation.schemas import MapOptions, ReverberationAnswer
from service.web.deps import UploadDep, WorkDep

router = APIRouter(tags=[NAME])


@router.post("/v1/reverberation", **openapi.REVERBERATION)
async def reverberation(
    upload: UploadDep, options: Annotated[MapOptions, Query()], work: WorkDep
) -> ReverberationAnswer:
    """Says how long and how clearly a room rings, per octave band and by each method.

    The body is JSON: a volume and the area and absorption of each surface, or a box and what is on its walls. Or it is
    maps, npz or safetensors, with `absorption` [S, H, W, 8] and, if it is known, the `area` [S, H, W] that each pixel
    shows; the query then has the volume and the surface of the room.

    The formulas hold for a diffuse field. In a box with smooth walls and absorption on few of them, sound lasts up to
    2.5 times as long as Eyring's formula says; `raytrace` follows energy from wall to wall and finds that.

    ```sh
    curl -H 'Content-Type: application/json' localhost:8080/v1/reverberation \\
        -d '{"dimensions_m": [6, 5, 3], "surfaces": [{"absorption": 0.1}]}'
    curl --data-binary @maps.npz 'localhost:8080/v1/reverberation?volume_m3=90&surface_m2=126'
    ```
    """
    room = await work.run("decode", read_room, upload.file, upload.content_type, options)
    found = await (work.run_slow if room.traced else work.run)("infer", decay_times, room)
    return await work.run("postprocess", answer, room, found)
