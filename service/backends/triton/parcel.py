"""The tensors of one request on their way to a server and back: large ones in a segment, small ones in the message."""

from collections.abc import Mapping, Sequence

import numpy as np
from tritonclient.grpc import InferInput, InferRequestedOutput, InferResult
from tritonclient.utils import np_to_triton_dtype, triton_to_np_dtype

from service.backends.triton.shared_memory import Segment
from service.tensors import Tensors

_ALIGNMENT = 64


class Parcel:
    """A place in a segment of `size` bytes for every tensor of at least `threshold` bytes; 0: for none."""

    def __init__(
        self, inputs: Tensors, outputs: Sequence[str], output_sizes: Mapping[str, int], threshold: int
    ) -> None:
        """`output_sizes`: bytes of outputs, as far as they are known."""
        self.size = 0
        self._inputs, self._outputs = inputs, outputs
        self._places: dict[tuple[str, str], tuple[int, int]] = {}  # (kind, name) -> offset, bytes
        sizes = [(("input", name), array.nbytes) for name, array in inputs.items()]
        sizes += [(("output", name), output_sizes.get(name, 0)) for name in outputs]
        for key, size in sizes:
            if 0 < threshold <= size:
                self._places[key] = (self.size, size)
                self.size += -(-size // _ALIGNMENT) * _ALIGNMENT

    def pack(self, segment: Segment) -> None:
        """Copies the large inputs; takes milliseconds."""
        for name, array in self._inputs.items():
            if place := self._places.get(("input", name)):
                np.copyto(segment.view(place[0], array.shape, array.dtype), array)

    def inputs(self, segment: Segment | None) -> list[InferInput]:
        """For the message, once the segment is packed."""
        tensors = []
        for name, array in self._inputs.items():
            tensor = InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
            place = self._places.get(("input", name))
            if segment and place:
                tensor.set_shared_memory(segment.name, place[1], place[0])
            else:
                tensor.set_data_from_numpy(array)
            tensors.append(tensor)
        return tensors

    def outputs(self, segment: Segment | None) -> list[InferRequestedOutput]:
        tensors = []
        for name in self._outputs:
            tensor = InferRequestedOutput(name)
            place = self._places.get(("output", name))
            if segment and place:
                tensor.set_shared_memory(segment.name, place[1], place[0])
            tensors.append(tensor)
        return tensors

    def unpack(self, result: InferResult, segment: Segment | None) -> Tensors:
        """Copies the large outputs, as the segment is for others then; takes milliseconds."""
        tensors = {}
        for name in self._outputs:
            place = self._places.get(("output", name))
            if segment and place:
                output = result.get_output(name)
                view = segment.view(place[0], output.shape, np.dtype(triton_to_np_dtype(output.datatype)))
                tensors[name] = view.copy()
            else:
                tensors[name] = result.as_numpy(name)
        return tensors
