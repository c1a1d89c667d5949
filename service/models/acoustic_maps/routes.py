"""POST /v1/acoustic-maps, in its five steps."""

from fastapi import APIRouter
from fastapi.responses import Response

from service.models.acoustic_maps import openapi
from service.models.acoustic_maps.answers import AnswerDep
from service.models.acoustic_maps.fields import SceneFields
from service.models.acoustic_maps.model import NAME
from service.models.acoustic_maps.postprocess import postprocess
from service.models.acoustic_maps.survey import AUDIO, IMAGES, SurveyDep
from service.web.form import FormDep

router = APIRouter(tags=[NAME])


@router.post("/v1/acoustic-maps", **openapi.ACOUSTIC_MAPS)
async def acoustic_maps(form: FormDep, answer: AnswerDep, survey: SurveyDep) -> Response:
    """Turns pictures of a room into its acoustics.

    The form has one picture or several, `images`, and, where there is one, the recording `audio` that was made with
    them, mono or binaural. Pictures are turned upright, resized and cropped; `original_from_model` in the answer leads
    back to their own pixels.

    `Accept` chooses the form of the answer: JSON, npz, safetensors, PNG, binary glTF, zip or WAV. Where several forms
    share a media type, `format` names the one that is meant.

    ```sh
    curl -F images=@1.jpg -F images=@2.jpg localhost:8080/v1/acoustic-maps > room.json
    curl -F images=@1.jpg -F images=@2.jpg -H 'Accept: model/gltf-binary' localhost:8080/v1/acoustic-maps > room.glb
    curl -F images=@1.jpg 'localhost:8080/v1/acoustic-maps?format=picture&map=absorption&band=500' > absorption.png
    curl -F images=@1.jpg -F images=@2.jpg -F audio=@walk.wav -F timestamps=0.5,2.1 localhost:8080/v1/acoustic-maps
    ```
    """
    images, audio, work = form.files(IMAGES), form.files(AUDIO), survey.work
    fields = await work.run("decode", form.fields, SceneFields, IMAGES, AUDIO)
    maps = answer.maps()
    survey.check(images, audio, fields)
    answer.check(survey.model, len(images))
    views = await survey.views(images)
    sound = await survey.sound(audio, fields, len(images))
    outputs = await survey.infer(views, sound, maps)
    run = work.run_slow if answer.traced else work.run
    encode = await run("postprocess", postprocess, answer, survey.model, fields, views, sound, outputs)
    return Response(await work.run("encode", encode), media_type=answer.format.media_type)
