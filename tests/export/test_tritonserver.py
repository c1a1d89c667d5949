"""The exported repository in the real tritonserver, its configurations unchanged, as ONNX and as TorchScript."""

import numpy as np
import pytest
from onnxruntime import InferenceSession
from tritonclient.grpc import InferenceServerClient, InferInput

from export.contract import read_config, signature
from tests.conftest import StartTriton
from tests.export.conftest import Exported

pytestmark = pytest.mark.tritonserver

TRITON_TYPES = {"bool": "BOOL", "float32": "FP32", "int32": "INT32", "int64": "INT64", "uint8": "UINT8"}


@pytest.mark.parametrize("config_name", [None, "torchscript"])
def test_the_real_server_answers_as_the_file_does(
    tritonserver: StartTriton, exported: Exported, config_name: str | None
) -> None:
    server = tritonserver(exported.repository, config_name=config_name)
    with InferenceServerClient(server.url) as client:
        for model, entry in exported.entries.items():
            config = client.get_model_config(model).config
            assert signature(config) == signature(read_config(exported.repository / model / "config.pbtxt"))
            example = entry.build(exported.weights[model]).example(3, 13, seed=5)
            inputs = {name: tensor.numpy() for name, tensor in example.items()}
            session = InferenceSession(
                exported.repository / model / "1" / "model.onnx", providers=["CPUExecutionProvider"]
            )
            names = [output.name for output in config.output]
            expected = dict(zip(names, session.run(names, inputs), strict=True))
            request = []
            for name, array in inputs.items():
                request.append(InferInput(name, list(array.shape), TRITON_TYPES[str(array.dtype)]))
                request[-1].set_data_from_numpy(array)
            answer = client.infer(model, request)
            for name, array in expected.items():
                assert answer.as_numpy(name).dtype == array.dtype
                np.testing.assert_allclose(answer.as_numpy(name), array, atol=1e-3)
    server.kill()
