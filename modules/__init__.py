"""A map for the reader; imports nothing.

Imports point down this list only:

- ``core``      L0  the words everything speaks: request, plan, events, errors, settings, limits, geometry
- ``extend``    L1  what an extension imports, and how extensions are found and guarded
- ``families``  L1  one model architecture each: detect, load, encode, denoise, decode, defaults
- ``prompt``    L2  text in, tree out: grammar, tags, tokens
- ``library``   L2  what is on disk: headers, checkpoints, blobs, infotext, outputs, index
- ``planning``  L3  request + library -> plan, and every mistake a user can make
- ``engine``    L4  the only package that imports torch at module level: a plan becomes images
- ``training``  L4  above the engine: the starter model's own recipe
- ``jobs``      L5  where and when: the durable queue, the worker, the collector
- ``webui``     L6  Gradio draws the form, our ES modules draw everything that moves
- ``httpapi``   L6  the gate, the typed API and the A1111 dialect
"""
