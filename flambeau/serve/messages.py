"""The messages of the protocol's gRPC form, as classes of protobuf.

They are described here as far as the server reads them. On the wire a field is its number, so it does not matter that messages
stand beside each other which the published description nests, nor that a map is told as the list of pairs that it is.

Source: https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/open_inference_grpc.proto, and for the
repository https://github.com/triton-inference-server/common/blob/main/protobuf/grpc_service.proto
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.message_factory import GetMessages

PACKAGE = "inference"

_MESSAGES = """
ServerLiveRequest
ServerLiveResponse              live=1:bool
ServerReadyRequest
ServerReadyResponse             ready=1:bool
ModelReadyRequest               name=1:string version=2:string
ModelReadyResponse              ready=1:bool
ServerMetadataRequest
ServerMetadataResponse          name=1:string version=2:string extensions=3:string*
ModelMetadataRequest            name=1:string version=2:string
ModelMetadataResponse           name=1:string versions=2:string* platform=3:string inputs=4:TensorMetadata* outputs=5:TensorMetadata*
TensorMetadata                  name=1:string datatype=2:string shape=3:int64*
InferParameter                  bool_param=1:bool int64_param=2:int64 string_param=3:string double_param=4:double uint64_param=5:uint64
NamedParameter                  key=1:string value=2:InferParameter
InferTensorContents             bool_contents=1:bool* int_contents=2:int32* int64_contents=3:int64* uint_contents=4:uint32*
                                uint64_contents=5:uint64* fp32_contents=6:float* fp64_contents=7:double* bytes_contents=8:bytes*
InferTensor                     name=1:string datatype=2:string shape=3:int64* parameters=4:NamedParameter* contents=5:InferTensorContents
RequestedOutput                 name=1:string parameters=2:NamedParameter*
ModelInferRequest               model_name=1:string model_version=2:string id=3:string parameters=4:NamedParameter* inputs=5:InferTensor*
                                outputs=6:RequestedOutput* raw_input_contents=7:bytes*
ModelInferResponse              model_name=1:string model_version=2:string id=3:string parameters=4:NamedParameter* outputs=5:InferTensor*
                                raw_output_contents=6:bytes*
RepositoryIndexRequest          repository_name=1:string ready=2:bool
RepositoryIndexResponse         models=1:ModelIndex*
ModelIndex                      name=1:string version=2:string state=3:string reason=4:string
RepositoryModelLoadRequest      repository_name=1:string model_name=2:string
RepositoryModelLoadResponse
RepositoryModelUnloadRequest    repository_name=1:string model_name=2:string
RepositoryModelUnloadResponse
"""
"""Each message with its fields: name=number:type, with a * where there may be several."""

_TYPES = {
    name: getattr(FieldDescriptorProto, f"TYPE_{name.upper()}")
    for name in ("bool", "int32", "int64", "uint32", "uint64", "float", "double", "string", "bytes")
}


def _classes() -> dict[str, Any]:
    """The messages' classes by name, in a pool of their own: clients in the same process have theirs."""
    # In the syntax of proto2 fields that have not been sent are told from those with the value 0; on the wire both are one.
    file = FileDescriptorProto(name="flambeau/inference.proto", package=PACKAGE, syntax="proto2")
    for line in _MESSAGES.strip().splitlines():
        name, *fields = [*line.split()] if line[0] != " " else ["", *line.split()]
        message = file.message_type.add(name=name) if name else file.message_type[-1]
        for text in fields:
            field, _, rest = text.partition("=")
            number, _, kind = rest.partition(":")
            made = message.field.add(name=field, number=int(number), label=3 if kind.endswith("*") else 1)
            kind = kind.rstrip("*")
            if kind in _TYPES:
                made.type = _TYPES[kind]
                made.options.packed = made.label == 3 and kind not in ("string", "bytes")
            else:
                made.type, made.type_name = FieldDescriptorProto.TYPE_MESSAGE, f".{PACKAGE}.{kind}"
    found = GetMessages([file], descriptor_pool.DescriptorPool())
    return {name.partition(".")[2]: cls for name, cls in found.items()}


CLASSES = _classes()
"""By name: ``CLASSES["ModelInferRequest"]``."""
