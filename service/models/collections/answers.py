"""What the store says, as the routes answer it."""

from collections.abc import Sequence

from service.models.collections.schemas import CollectionAnswer, HitAnswer, MatchAnswer, SearchAnswer, StatsAnswer
from service.vectors.base import Collection, Hit, Match, Stats


def described(collection: Collection) -> CollectionAnswer:
    return CollectionAnswer(
        name=collection.name, dims=collection.dims, distance=collection.distance, space_id=collection.space_id
    )


def counted(collection: Collection, stats: Stats) -> StatsAnswer:
    return StatsAnswer(
        **described(collection).model_dump(), items=stats.items, windows=stats.windows, pending=stats.pending
    )


def found(collection: Collection, hits: Sequence[Hit]) -> SearchAnswer:
    results = [
        HitAnswer(id=hit.id, score=hit.score, metadata=dict(hit.metadata), matches=[_match(m) for m in hit.matches])
        for hit in hits
    ]
    return SearchAnswer(collection=collection.name, space_id=collection.space_id, results=results)


def _match(match: Match) -> MatchAnswer:
    span, answer = match.span, MatchAnswer(window=match.window, score=match.score)
    if span is None:
        return answer
    if span.unit == "seconds":
        return answer.model_copy(update={"start_s": span.start, "end_s": span.end})
    return answer.model_copy(update={"char_start": int(span.start), "char_end": int(span.end)})
