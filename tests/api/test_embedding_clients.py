"""The clients that embedding-search backends bring, unchanged, over a socket."""

import base64

import langchain_openai
import numpy as np
import openai
import pytest

from tests import sounds, tiny_embedders
from tests.api.conftest import MakeSettings, on_socket

TEXTS = ["a dog barks", "rain falls on the roof", "the wind slams the door"]
EXPECTED = [tiny_embedders.words(text) for text in TEXTS]


async def test_openais_client_gets_vectors(make_settings: MakeSettings) -> None:
    async with on_socket(make_settings()) as served:
        client = openai.AsyncOpenAI(base_url=f"{served.base_url}/v1", api_key="none", max_retries=0)
        async with client:
            default = await client.embeddings.create(model="embeddings", input=TEXTS, user="me")  # as base64
            floats = await client.embeddings.create(model="embeddings", input=TEXTS[0], encoding_format="float")
            wav = base64.b64encode(sounds.encoded(sounds.clip(), "wav")).decode()
            heard = await client.embeddings.create(
                model="embeddings", input=[TEXTS[0], f"data:audio/wav;base64,{wav}"], extra_body={"window": True}
            )
    np.testing.assert_allclose([item.embedding for item in default.data], EXPECTED, atol=1e-5)
    np.testing.assert_array_equal(floats.data[0].embedding, default.data[0].embedding)
    assert [item.index for item in default.data] == [0, 1, 2]
    assert default.usage.prompt_tokens == default.usage.total_tokens == 19
    assert default.model_extra == {"space_id": tiny_embedders.SPACE_ID}
    assert len(heard.data[1].embedding) == tiny_embedders.DIMS
    assert heard.data[1].model_extra["windows"][0]["start_s"] == 0


async def test_openais_client_reads_our_problems(make_settings: MakeSettings) -> None:
    async with on_socket(make_settings()) as served:
        client = openai.AsyncOpenAI(base_url=f"{served.base_url}/v1", api_key="none", max_retries=0)
        async with client:
            with pytest.raises(openai.NotFoundError) as unknown:
                await client.embeddings.create(model="text-embedding-3-small", input="a")
            with pytest.raises(openai.UnprocessableEntityError) as cut:
                await client.embeddings.create(model="embeddings", input="a", dimensions=8)
            with pytest.raises(openai.UnprocessableEntityError) as empty:
                await client.embeddings.create(model="embeddings", input=[])
    assert unknown.value.code == "model_not_found"
    assert "embeddings" in unknown.value.message
    assert (cut.value.code, cut.value.param, cut.value.type) == (
        "invalid_input",
        "dimensions",
        "invalid_request_error",
    )
    assert "16 dimensions" in cut.value.message
    assert empty.value.param == "input"


async def test_langchain_gets_vectors(make_settings: MakeSettings) -> None:
    async with on_socket(make_settings()) as served, openai.DefaultAsyncHttpxClient() as http:
        embeddings = langchain_openai.OpenAIEmbeddings(
            base_url=f"{served.base_url}/v1",
            api_key="none",
            model="embeddings",
            check_embedding_ctx_length=False,
            http_async_client=http,
        )
        documents = await embeddings.aembed_documents(TEXTS)
        query = await embeddings.aembed_query(TEXTS[1])
    np.testing.assert_allclose(documents, EXPECTED, atol=1e-5)
    np.testing.assert_allclose(query, EXPECTED[1], atol=1e-5)
