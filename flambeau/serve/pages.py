"""What people look at: the OpenAPI document, and a page to try a model by hand."""

from __future__ import annotations

from typing import Any

from flambeau import version
from flambeau.serve.protocol import DATATYPES

_ERROR = {
    "description": "what was expected and what came",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
}

_TENSOR = {
    "type": "object",
    "required": ["name", "shape", "datatype"],
    "properties": {
        "name": {"type": "string"},
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
        "datatype": {"type": "string", "enum": list(DATATYPES)},
        "data": {"description": "numbers, nested or flat; null is NaN", "type": "array", "items": {}},
        "parameters": {"type": "object", "properties": {"binary_data_size": {"type": "integer"}}},
    },
}

_SCHEMAS = {
    "Error": {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}},
    "Tensor": _TENSOR,
    "InferRequest": {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": {"type": "string"},
            "parameters": {
                "type": "object",
                "properties": {
                    "binary_data_output": {"type": "boolean"},
                    "timeout": {"type": "number", "description": "microseconds"},
                },
            },
            "inputs": {"type": "array", "items": {"$ref": "#/components/schemas/Tensor"}},
            "outputs": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["name"],
                    "properties": {
                        "name": {"type": "string"},
                        "parameters": {"type": "object", "properties": {"binary_data": {"type": "boolean"}}},
                    },
                },
            },
        },
    },
    "InferResponse": {
        "type": "object",
        "properties": {
            "id": {"type": "string"},
            "model_name": {"type": "string"},
            "model_version": {"type": "string"},
            "outputs": {"type": "array", "items": {"$ref": "#/components/schemas/Tensor"}},
        },
    },
}


def openapi(models: list[dict[str, Any]]) -> dict[str, Any]:
    """The OpenAPI document of a server with these models, each as the protocol's metadata describes it.

    >>> sorted(openapi([{"name": "digits", "inputs": []}])["paths"])[:2]
    ['/metrics', '/ping']
    """
    paths: dict[str, Any] = {
        "/v2": {"get": _operation("About this server")},
        "/v2/health/live": {"get": _operation("Whether the process answers")},
        "/v2/health/ready": {"get": _operation("Whether models answer; 503 while it starts and ends")},
        "/v2/repository/index": {"post": _operation("Models, versions, and why those that are not ready are not")},
        "/v2/repository/models/{model}/load": {"post": _operation("Load a model", ("model",))},
        "/v2/repository/models/{model}/unload": {"post": _operation("Unload a model", ("model",))},
        "/v2/models/{model}/ready": {"get": _operation("Whether a model answers", ("model",))},
        "/metrics": {"get": _operation("Figures for Prometheus")},
        "/ping": {"get": _operation("Health, by TorchServe's name")},
    }
    for model in models:
        name = model["name"]
        infer = _operation(f"Ask {name}")
        infer["requestBody"] = _content("InferRequest", {"inputs": [_example(one) for one in model["inputs"]]})
        infer["responses"]["200"] = {"description": "its outputs", **_content("InferResponse")}
        paths[f"/v2/models/{name}"] = {"get": _operation(f"Inputs and outputs of {name}")}
        paths[f"/v2/models/{name}/infer"] = {"post": infer}
        predictions = _operation(f"Ask {name}: nested lists in, nested lists out")
        predictions["requestBody"] = {"content": {"application/json": {"schema": {}}}}
        paths[f"/predictions/{name}"] = {"post": predictions}
    return {
        "openapi": "3.1.0",
        "info": {"title": "flambeau serve", "version": version.release, "description": "The Open Inference Protocol, version 2"},
        "paths": paths,
        "components": {"schemas": _SCHEMAS},
    }


def _operation(summary: str, arguments: tuple[str, ...] = ()) -> dict[str, Any]:
    operation: dict[str, Any] = {"summary": summary, "responses": {"200": {"description": "done"}, "default": _ERROR}}
    if arguments:
        operation["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in arguments
        ]
    return operation


def _content(schema: str, example: Any = None) -> dict[str, Any]:
    content: dict[str, Any] = {"schema": {"$ref": f"#/components/schemas/{schema}"}}
    if example is not None:
        content["example"] = example
    return {"content": {"application/json": content}}


def _example(tensor: dict[str, Any]) -> dict[str, Any]:
    shape = [1 if n < 0 else n for n in tensor["shape"]]
    return {"name": tensor["name"], "shape": shape, "datatype": tensor["datatype"], "data": "..."}


PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>flambeau serve</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; color: #222; background: #fff }
textarea, pre { width: 100%; box-sizing: border-box; font: 13px/1.4 ui-monospace, monospace; padding: .5rem; border: 1px solid #bbb; border-radius: 4px }
textarea { height: 14rem } pre { background: #f5f5f5; overflow: auto; max-height: 20rem; min-height: 2rem } .bad { color: #a00 }
button, select, input { font: inherit; padding: .2rem .8rem }
@media (prefers-color-scheme: dark) { body { color: #ddd; background: #181818 } textarea, pre { background: #222; color: #ddd; border-color: #444 } .bad { color: #f77 } }
</style>
<h1>flambeau serve</h1>
<p><label>Model <select id="model"></select></label> <label>Token <input id="token" type="password" size="12"></label>
<a href="openapi.json">openapi.json</a> · <a href="metrics">metrics</a></p>
<textarea id="body" spellcheck="false" aria-label="Request"></textarea>
<p><button id="send">Send</button> <span id="took"></span></p>
<pre id="answer"></pre>
<script>
const at = id => document.getElementById(id);
const ask = (path, body) => fetch(path, {method: body === undefined ? "GET" : "POST", body,
  headers: at("token").value ? {Authorization: "Bearer " + at("token").value} : {}});
const show = (text, bad) => { at("answer").textContent = text; at("answer").className = bad ? "bad" : ""; };
async function example() {
  const about = await (await ask("v2/models/" + encodeURIComponent(at("model").value))).json();
  const inputs = (about.inputs || []).map(t => {
    const shape = t.shape.map(n => n < 0 ? 1 : n);
    const count = shape.reduce((a, b) => a * b, 1);
    return {name: t.name, shape, datatype: t.datatype, data: Array(Math.min(count, 100000)).fill(t.datatype === "BYTES" ? "" : 0)};
  });
  at("body").value = JSON.stringify({inputs});
}
async function models() {
  const reply = await ask("v2/repository/index", "{}");
  if (!reply.ok) { show((await reply.json()).error, true); return; }
  const rows = await reply.json();
  at("model").replaceChildren(...[...new Set(rows.filter(r => r.state === "READY").map(r => r.name))].map(n => new Option(n, n)));
  show(rows.filter(r => r.reason).map(r => r.name + " " + r.version + ": " + r.reason).join("\\n"), true);
  if (at("model").value) await example();
}
at("model").onchange = example;
at("token").onchange = models;
at("send").onclick = async () => {
  const start = performance.now();
  const reply = await ask("v2/models/" + encodeURIComponent(at("model").value) + "/infer", at("body").value);
  at("took").textContent = reply.status + ", " + (performance.now() - start).toFixed(1) + " ms";
  show(JSON.stringify(await reply.json(), null, 1), !reply.ok);
};
models();
</script></html>
"""
