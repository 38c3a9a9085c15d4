"""Opens a network on an execution provider, ready to be shared by all threads.

An onnxruntime session may be run by many threads at once. One thread inside a session is on purpose: a worker looks at
as many pictures as it has cores (workers.cores), and splitting one small network over cores cost 1.3 to 1.5 times the
CPU when the machine was busy.
"""

from typing import Any

import onnxruntime as ort

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"

#: By itself cuDNN tries all its ways to convolve at every new shape, which takes about a second, and pictures have many shapes;
#: and it rounds factors to ten bits, by which embeddings of one machine would differ from those of another.
_OPTIONS = {CUDA: {"cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0"}}

#: onnxruntime ships no type information; an `InferenceSession`.
Session = Any


class ModelError(Exception):
    """A model cannot be opened; the message says what to do about it."""


def open_session(model: bytes, provider: str) -> Session:
    """Open a session on a provider or raise ModelError; onnxruntime alone would silently fall back to the CPU."""
    available = ort.get_available_providers()
    if provider not in available:
        raise ModelError(
            f"This onnxruntime has no {provider}; it has {', '.join(available)}. Install the onnxruntime package that "
            "brings it, or change REKOLLECT_EXECUTION_PROVIDER."
        )
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors only; warnings about unused initializers repeat at every start
    providers = [(name, _OPTIONS.get(name, {})) for name in dict.fromkeys((provider, CPU))]
    session = ort.InferenceSession(model, options, providers=providers)
    if session.get_providers()[0] != provider:
        raise ModelError(f"{provider} could not start on this machine; see onnxruntime's message above for the cause.")
    return session
