"""One request's way through the room model: pictures and sound in, what the model says out."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated

from fastapi import Depends

from service.dsp.sync import FrameClock
from service.errors import InvalidInput, ServiceError
from service.media.image import View, Views, stack_views
from service.models.acoustic_maps.fields import SceneFields
from service.models.acoustic_maps.model import MODEL, MapsModel
from service.models.acoustic_maps.prediction import POSE
from service.models.acoustic_maps.sound import Recording, Sound, hear
from service.tensors import Tensors
from service.web.deps import WorkDep
from service.web.form import Part
from service.web.work import Work

IMAGES, AUDIO = "images", "audio"


@dataclass(frozen=True)
class Survey:
    """What a room's pictures are worked on with."""

    work: Work
    model: MapsModel

    def check(self, images: Sequence[Part], audio: Sequence[Part], fields: SceneFields) -> None:
        """Raises InvalidInput for what is wrong before anything is decoded."""
        limit = self.model.view_limit(self.work.settings)
        if not 1 <= len(images) <= limit:
            raise InvalidInput(
                f"the form has {len(images)} pictures named {IMAGES!r}; accepted are 1 to {limit}",
                errors=[{"pointer": f"/form/{IMAGES}", "detail": f"1 to {limit} pictures"}],
            )
        if len(audio) > 1:
            raise InvalidInput(
                f"the form has {len(audio)} recordings; accepted is one",
                errors=[{"pointer": f"/form/{AUDIO}", "detail": "one recording"}],
            )
        fields.times_s(len(images))
        if audio and len(images) > 1 and not fields.timed:
            raise InvalidInput(
                "when in the recording the pictures were taken is not known: send fps or timestamps",
                errors=[{"pointer": "/form/timestamps", "detail": "needed with audio and several pictures"}],
            )

    async def views(self, images: Sequence[Part]) -> Views:
        """Decodes the pictures one by one. Raises as `Decoders.read_view`, naming the picture."""
        views = []
        for index, part in enumerate(images):
            with _named(f"/form/{IMAGES}/{index}"):
                views.append(await self.work.run("decode", self._view, part))
        return await self.work.run("preprocess", stack_views, views)

    async def sound(self, audio: Sequence[Part], fields: SceneFields, num_views: int) -> Sound:
        """What is heard at each picture; silence without a recording."""
        features = self.model.features
        if not audio:
            return Sound.silence(num_views, features.audio_feature_dim)
        sound = audio[0]
        recording = Recording(self.work.decoders, sound.file, sound.content_type, self.work.settings.max_audio_s)
        with _named(f"/form/{AUDIO}"):
            if fields.timed:
                clock = fields.clock(num_views, features.sample_rate)
            else:  # a single picture: what it shows is heard in the middle of its recording
                middle_s = await self.work.run("decode", recording.middle_s)
                clock = FrameClock.at([Fraction(0)], features.sample_rate, offset_s=-middle_s)
            return await self.work.run("preprocess", hear, recording, clock, self.model.extractor)

    async def infer(self, views: Views, sound: Sound, maps: Sequence[str]) -> Tensors:
        """`maps` and the poses: only what is asked for is computed, as far as the backend can leave out the rest."""
        inputs: Tensors = {"images": views.images, "audio_features": sound.features, "audio_valid": sound.valid}
        arrays = {name: array[None] for name, array in inputs.items()}
        deadline = asyncio.get_running_loop().time() + self.work.settings.deadline_s
        with self.work.trace.stage("infer"):
            return await self.work.backend.infer(MODEL, arrays, [*maps, POSE], deadline=deadline)

    def _view(self, part: Part) -> View:
        settings = self.work.settings
        return self.work.decoders.read_view(
            part.file,
            image_size=self.model.image_size,
            patch_size=self.model.patch_size,
            max_pixels=settings.max_image_pixels,
            max_bytes=settings.max_image_bytes,
        )


@contextmanager
def _named(pointer: str) -> Iterator[None]:
    """Says of a refusal which part of the form it is about."""
    try:
        yield
    except ServiceError as exc:
        if exc.status >= 500:
            raise
        fault = {"pointer": pointer, "detail": exc.detail}
        raise type(exc)(f"{pointer}: {exc.detail}", errors=[fault]) from exc


async def _survey(work: WorkDep) -> Survey:
    return Survey(work, await work.run("preprocess", MapsModel.of, work.backend.models))


SurveyDep = Annotated[Survey, Depends(_survey)]
