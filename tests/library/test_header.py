"""Headers of safetensors files: what is read, and every way in which a file may lie."""

import json
import os
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modules.core import limits
from modules.core.errors import ModelError
from modules.library import header
from modules.library.header import TensorInfo

GOOD = {"a": {"dtype": "F16", "shape": [2, 3], "data_offsets": [0, 12]}}


def write(path: Path, entries: object, data: bytes = bytes(12), length: int | None = None) -> Path:
    text = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


@pytest.fixture
def file(tmp_path) -> Path:
    return tmp_path / "model.safetensors"


def code_of(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        header.read(path)
    assert path.name in caught.value.message
    assert str(path.parent) not in caught.value.message
    assert caught.value.hint
    return caught.value.code


def test_reads_what_the_safetensors_library_wrote(file):
    from safetensors.numpy import save_file

    numpy = pytest.importorskip("numpy")
    tensors = {
        "x.weight": numpy.ones((2, 3), numpy.float32),
        "y": numpy.zeros((0, 4), numpy.int64),
        "z": numpy.ones(()),
    }
    save_file(tensors, file, metadata={"modelspec.title": "ink"})
    found = header.read(file)
    assert found.shapes == {"x.weight": (2, 3), "y": (0, 4), "z": ()}
    assert found.metadata == {"modelspec.title": "ink"}
    assert not found.is_metadata_cut
    assert found.size_bytes == file.stat().st_size
    tensor = found.tensors["x.weight"]
    assert tensor.dtype == "F32"
    raw = file.read_bytes()[found.data_start + tensor.start : found.data_start + tensor.end]
    assert raw == tensors["x.weight"].tobytes()


def test_plain(file):
    found = header.read(write(file, GOOD))
    assert found.tensors == {"a": TensorInfo("F16", (2, 3), 0, 12)}


@pytest.mark.parametrize(
    ("entries", "data", "code"),
    [
        ({"a": {**GOOD["a"], "shape": [2, 4]}}, 12, "model_damaged"),
        ({"a": {**GOOD["a"], "shape": [-2, -3]}}, 12, "model_damaged"),
        ({"a": {**GOOD["a"], "shape": [True, 6]}}, 12, "model_damaged"),
        ({"a": {**GOOD["a"], "shape": [2.0, 3]}}, 12, "model_damaged"),
        ({"a": {**GOOD["a"], "shape": [10**30, 0]}}, 12, "model_damaged"),
        ({"a": {**GOOD["a"], "dtype": "F17"}}, 12, "model_damaged"),
        ({"a": {**GOOD["a"], "data_offsets": [-12, 0]}}, 12, "model_damaged"),
        ({"a": {**GOOD["a"], "data_offsets": [0]}}, 12, "model_damaged"),
        ({"a": {"dtype": "F16"}}, 12, "model_damaged"),
        ({"a": 1}, 12, "model_damaged"),
        ([], 12, "model_damaged"),
        ({**GOOD, "b": GOOD["a"]}, 12, "model_damaged"),  # overlap
        ({"a": {**GOOD["a"], "data_offsets": [4, 16]}}, 16, "model_damaged"),  # a gap
        (GOOD, 13, "model_damaged"),  # more than the header says
        ({**GOOD, "__metadata__": []}, 12, "model_damaged"),
        (b"{" + b'"a":{"a":' * 100_000, 12, "model_damaged"),
        (b'{"a": NaN}', 12, "model_damaged"),
        (b"\xff\xfe", 12, "model_damaged"),
        (b'{"a": ' + b"1" * 5000 + b"}", 12, "model_damaged"),
    ],
)
def test_damaged(file, entries, data, code):
    assert code_of(write(file, entries, bytes(data))) == code


def test_duplicate_keys_are_refused(file):
    one = json.dumps(GOOD)[1:-1]
    assert code_of(write(file, f"{{{one}, {one}}}".encode())) == "model_damaged"
    assert code_of(write(file, b'{"a": {"dtype": "F16", "dtype": "F32", "shape": [], "data_offsets": [0, 4]}}')) == (
        "model_damaged"
    )


def test_incomplete_says_how_much_is_there(file):
    entries = {"a": {"dtype": "F32", "shape": [1_000_000_000], "data_offsets": [0, 4_000_000_000]}}
    write(file, entries)
    os.truncate(file, 1_500_000_000)  # sparse: takes no room
    with pytest.raises(ModelError) as caught:
        header.read(file)
    assert caught.value.code == "model_incomplete"
    assert "incomplete: 1.50 of 4.00 GB" in caught.value.message


@pytest.mark.parametrize("size", [0, 7, 8, 20])
def test_every_cut_is_incomplete(file, size):
    whole = write(file, GOOD).read_bytes()
    file.write_bytes(whole[:size])
    assert code_of(file) == "model_incomplete"
    file.write_bytes(whole[:-1])
    assert code_of(file) == "model_incomplete"


def test_other_files_under_the_name(file, tmp_path):
    file.write_bytes(b"\x80\x04\x95" + bytes(range(200)))
    assert code_of(file) == "model_too_large"
    file.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4\n")
    with pytest.raises(ModelError, match="no safetensors file") as caught:
        header.read(file)
    assert "pointer" in caught.value.hint
    assert code_of(tmp_path / "gone.safetensors") == "model_missing"
    (tmp_path / "folder.safetensors").mkdir()
    assert code_of(tmp_path / "folder.safetensors") == "model_unreadable"


def test_a_pipe_does_not_block(tmp_path):
    if not hasattr(os, "mkfifo"):
        pytest.skip("no named pipes here")
    os.mkfifo(tmp_path / "pipe.safetensors")
    assert code_of(tmp_path / "pipe.safetensors") == "model_unreadable"


def test_caps(file):
    write(file, b"{}", b"", length=limits.HEADER_BYTES + 1)
    assert code_of(file) == "model_too_large"
    empty = {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}
    assert len(header.read(write(file, {str(i): empty for i in range(50_000)}, b"")).tensors) == 50_000
    assert code_of(write(file, {str(i): empty for i in range(50_001)}, b"")) == "model_too_large"


def test_metadata_is_bounded_and_keeps_short_entries(file):
    metadata = {"book": "<b>é</b>" * 300_000, "modelspec.title": "ink", "number": 3}
    found = header.read(write(file, {**GOOD, "__metadata__": metadata}))
    assert found.metadata["modelspec.title"] == "ink"
    assert "number" not in found.metadata
    assert found.is_metadata_cut
    assert 60_000 < sum(len(k.encode()) + len(v.encode()) for k, v in found.metadata.items()) <= 65_536


def test_half_surrogates_become_characters(file):
    found = header.read(write(file, {**GOOD, "__metadata__": {"a": "\ud800"}}))
    found.metadata["a"].encode()


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_mutation_is_read_or_refused(file, data):
    raw = bytearray(write(file, {**GOOD, "__metadata__": {"a": "b"}}).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 13))] = data.draw(st.integers(0, 255))
    file.write_bytes(raw)
    try:
        found = header.read(file)
    except ModelError:
        return
    assert all(found.data_start + tensor.end <= len(raw) for tensor in found.tensors.values())


@pytest.mark.parametrize(("dtype", "content"), [
    ("F16", struct.pack("<3e", 1.0, -0.5, 0.25)), ("F32", struct.pack("<3f", 1.0, -0.5, 0.25)),
    ("BF16", b"".join(struct.pack("<f", value)[2:] for value in (1.0, -0.5, 0.25))),
])  # fmt: skip
def test_a_small_tensor_can_be_looked_at(tmp_path, dtype, content):
    path = tmp_path / "one.safetensors"
    text = json.dumps({"a": {"dtype": dtype, "shape": [3], "data_offsets": [0, len(content)]}}).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content)
    read = header.read(path)
    assert header.peek(path, read, "a") == [1.0, -0.5, 0.25]
    assert header.peek(path, read, "b") is None
