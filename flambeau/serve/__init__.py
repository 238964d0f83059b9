"""``flambeau serve``: models over HTTP, by the Open Inference Protocol.

Clients of KServe, Triton and MLServer work unchanged. Needs the extra ``flambeau[serve]``: Starlette, uvicorn, prometheus-client.
docs/serving.md says how it is used.

==================  =======================================================================================
``protocol``        requests and responses as arrays
``config``          what is known of a model besides its weights
``loaders``         files of models, by their endings
``model``           one version of a model: from arrays to arrays
``batching``        requests that wait while a batch runs are the next batch
``repository``      models by name and version, loaded, replaced and dropped while others answer
``app``, ``pages``  the routes; the OpenAPI document and the page to try a model by hand
``front``           what every request passes: token, origin, size of its body, log, figures
``metrics``         figures for Prometheus
``process``         the server's processes, and how they end
==================  =======================================================================================
"""
