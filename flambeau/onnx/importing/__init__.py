"""Files of ONNX as modules: ``flambeau.onnx.load("model.onnx")``. Needs the package ``onnx``.

==============================================================  ==========================================================
``module``                                                      :func:`load`, and the module that it makes
``graph``                                                       a graph of nodes, run one after the other; If, Loop, Scan
``registry``                                                    what a rule of an operator is: a function of tensors
``host``                                                        sizes and indices: numbers that stay in Python
``elementwise``, ``shapes``, ``indexing``, ``reductions``,      the rules, by family
``products``, ``windows``, ``norms``, ``recurrent``,
``attention``, ``images``, ``quantized``, ``losses``,
``sequences``
==============================================================  ==========================================================

An operator without a rule whose meaning ONNX gives as a function of others runs as that function.

Source: https://onnx.ai/onnx/operators/
"""

from flambeau.onnx.importing.module import OnnxModule, load

__all__ = ["OnnxModule", "load"]
