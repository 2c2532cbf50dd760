"""ComfyUI: the graph that made the picture, in the text "prompt"; read backwards from its samplers, as far as it goes.

A graph can be anything. Known are the nodes that ship with it and the links between them; other nodes are followed
through the inputs that bear the usual names. What a graph does beyond one picture in two passes is not said here.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

from modules.library.foreign.gathered import Found, mapping, numbered, stem, unreadable, with_loras
from modules.library.recall import Recall

Node = Mapping[str, Any]
_DEEPEST = 60  # links that are followed from one node
_SAMPLERS = ("KSampler", "KSamplerAdvanced", "SamplerCustom", "SamplerCustomAdvanced")
_TEXTS = ("text", "text_g", "string", "prompt", "value", "positive", "wildcard_text", "populated_text", "String")
_THROUGH = ("conditioning", "conditioning_1", "conditioning_to", "positive", "negative", "samples", "latent_image",
            "latent", "pixels", "image", "model", "clip", "guider", "sigmas", "sampler", "noise")  # fmt: skip
_EMBEDDING = re.compile(r"embedding:\s*([\w\-. /\\]+?)(?=[,\s)]|$)")
_BRACKET = re.compile(r"(?<!\\)([\[\]])")


def read(texts: Mapping[str, str]) -> Recall | None:
    """The fields of such a picture; None for another's. Its rules (compat comfy) and its CPU noise come along."""
    data = mapping(texts.get("prompt"))
    nodes = {key: cast(Node, node) for key, node in (data or {}).items()
             if isinstance(node, dict) and isinstance(cast(Node, node).get("class_type"), str)}  # fmt: skip
    if not nodes:
        return None
    graph = _Graph(nodes)
    found = Found("ComfyUI")
    found.take("compat", ["comfy"])
    found.take("noise", "cpu")
    samplers = graph.samplers()
    if not samplers:
        found.warnings.append(unreadable("The graph of this picture has no sampler that is known; it"))
        return found.recall()
    first, second = samplers[0], samplers[1] if len(samplers) > 1 else None
    _words(graph, first, found)
    _walk(graph, first, found)
    _place(graph, first, found)
    if second is not None:
        _second(graph, second, found)
    if len(samplers) > 2:
        found.unknown["samplers"] = f"{len(samplers)} in the graph; the first two count"
    return found.recall()


class _Graph:
    """The nodes by id, and how inputs lead from one to another."""

    def __init__(self, nodes: Mapping[str, Node]) -> None:
        self.nodes = nodes

    def inputs(self, node: Node) -> Mapping[str, Any]:
        said = node.get("inputs")
        return cast(Mapping[str, Any], said) if isinstance(said, dict) else {}

    def behind(self, node: Node, name: str) -> Node | None:
        """The node that feeds an input; None where a value stands there."""
        link = self.inputs(node).get(name)
        if isinstance(link, list) and link and isinstance(link[0], str | int):
            return self.nodes.get(str(link[0]))
        return None

    def value(self, node: Node, name: str) -> Any:
        """An input's value, fetched from a node that only holds one where it is linked."""
        for _ in range(_DEEPEST):
            said = self.inputs(node).get(name)
            source = self.behind(node, name)
            if source is None:
                return None if isinstance(said, list) else said
            kept = next((word for word in (name, "value", "seed", "noise_seed", "int", "float", *_TEXTS)
                         if word in self.inputs(source)), None)  # fmt: skip
            if kept is None:
                return None
            node, name = source, kept
        return None

    def chain(self, node: Node, name: str) -> Iterator[Node]:
        """What feeds an input, then what feeds that through inputs of the usual names, nearest first."""
        seen: set[int] = set()
        front = [self.behind(node, name)]
        while front and len(seen) < _DEEPEST:
            here = front.pop(0)
            if here is None or id(here) in seen:
                continue
            seen.add(id(here))
            yield here
            wanted = (name, *(word for word in _THROUGH if word != name))
            front += [self.behind(here, word) for word in wanted if word in self.inputs(here)]

    def samplers(self) -> list[Node]:
        """The samplers, those first from whose latents others go on."""
        found = [node for node in self.nodes.values() if node["class_type"] in _SAMPLERS]
        fed = {id(node): sum(other in found for other in self.chain(node, "latent_image")) for node in found}
        return sorted(found, key=lambda node: fed[id(node)])


def _words(graph: _Graph, sampler: Node, found: Found) -> None:
    loras: list[tuple[str, float, float | None]] = []
    for node in _chain_of_model(graph, sampler):
        inputs = graph.inputs(node)
        if isinstance(inputs.get("lora_name"), str):
            strength = numbered(inputs.get("strength_model"))
            loras.append((inputs["lora_name"], strength, numbered(inputs.get("strength_clip"), strength)))
    holder = graph.behind(sampler, "guider") or sampler
    prompt = _text(graph, holder, "positive") or _text(graph, holder, "conditioning")
    found.take("prompt", with_loras(_ours(prompt), loras[::-1]))
    found.take("negative_prompt", _ours(_text(graph, holder, "negative")))


def _text(graph: _Graph, holder: Node, name: str) -> str:
    for node in graph.chain(holder, name):
        for word in _TEXTS:
            text = graph.value(node, word)
            if isinstance(text, str) and text.strip():
                return text
        if "Encode" in node["class_type"]:
            return ""  # the encoder of an empty text: not to be passed
    return ""


def _ours(text: str) -> str:
    """Square brackets are text there, and embeddings have a word in front."""
    return _BRACKET.sub(r"\\\1", _EMBEDDING.sub(lambda match: stem(match[1]), text))


def _chain_of_model(graph: _Graph, sampler: Node) -> list[Node]:
    holder = graph.behind(sampler, "guider") or sampler
    return list(graph.chain(holder, "model"))


def _walk(graph: _Graph, sampler: Node, found: Found, path: str = "sampling.") -> None:
    """Seed, steps, scale, sampler and schedule: of the sampler itself, or of the nodes that feed a custom one."""
    holders = [sampler, *(node for name in ("noise", "guider", "sampler", "sigmas")
                          if (node := graph.behind(sampler, name)) is not None)]  # fmt: skip
    said = {name: next((value for node in holders if (value := graph.value(node, name)) is not None), None)
            for name in ("seed", "noise_seed", "steps", "cfg", "sampler_name", "scheduler")}  # fmt: skip
    if path == "sampling.":
        seed = said["seed"] if said["seed"] is not None else said["noise_seed"]
        found.number("seed", seed % 2**32 if isinstance(seed, int) else seed, int)
        if isinstance(seed, int) and seed >= 2**32:
            found.unknown["seed"] = f"{seed}: its lower 32 bits draw the same noise on a CPU"
    found.number(path + "steps", said["steps"], int)
    found.number(path + "cfg_scale", said["cfg"], float)
    found.sampler(said["sampler_name"], said["scheduler"], path)


def _place(graph: _Graph, sampler: Node, found: Found) -> None:
    """Checkpoint, VAE, clip skip, and size or the picture that it starts from."""
    for node in _chain_of_model(graph, sampler):
        name = graph.inputs(node).get("ckpt_name") or graph.inputs(node).get("unet_name")
        if isinstance(name, str):
            found.model("model.checkpoint", name)
            break
    for node in graph.nodes.values():
        inputs = graph.inputs(node)
        if node["class_type"] == "VAELoader":
            found.model("vae", inputs.get("vae_name"))
        layer = inputs.get("stop_at_clip_layer")
        if isinstance(layer, int) and layer < 0:
            found.number("clip_skip", -layer, int)
    for node in graph.chain(sampler, "latent_image"):
        if "Empty" in node["class_type"]:
            found.size(graph.value(node, "width"), graph.value(node, "height"))
            return
    found.number("start.denoise_strength", graph.inputs(sampler).get("denoise"), float)


def _second(graph: _Graph, sampler: Node, found: Found) -> None:
    """A second pass over enlarged latents or pixels."""
    before = list(graph.chain(sampler, "latent_image"))
    upscale = next((node for node in before if "pscale" in node["class_type"]), None)
    if upscale is None:
        return
    inputs = graph.inputs(upscale)
    scale, width, height = (graph.value(upscale, name) for name in ("scale_by", "width", "height"))
    if isinstance(width, int) and isinstance(height, int) and width and height:
        found.take("hires.width", width, "hires.height", height)
    else:
        found.number("hires.scale", scale, float)
    is_latent = upscale["class_type"].startswith("Latent")
    method = str(inputs.get("upscale_method") or "")
    latent = {"nearest-exact": "Latent (nearest-exact)", "bicubic": "Latent (bicubic)"}.get(method, "Latent")
    found.take("hires.upscaler", latent if is_latent else "Lanczos")
    found.number("hires.denoise_strength", graph.inputs(sampler).get("denoise"), float)
    _walk(graph, sampler, found, "hires.")
