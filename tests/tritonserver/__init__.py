"""The real tritonserver, without docker or a GPU: how it is fetched, which backends it gets, how it is run.

The server is NVIDIA's own binary from the `nvidia-pytriton` wheel. That wheel carries only the Python backend, so
`backends/` has the onnxruntime and pytorch backends written against it; the model repository is served unchanged.
"""
