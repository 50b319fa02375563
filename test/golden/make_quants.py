"""quants.gguf, its values in quants.safetensors and its metadata in quants.json.

One tensor for each type, of shape (4, 512) (in GGUF's header the dimensions are written innermost first), named
by the type in lower case; `odd` is a 1-D F32 tensor of 5 values, so that padding to the alignment matters.
F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1: random normals through gguf.quants.quantize.
Q2_K .. Q6_K: random block bytes with sane float16 scales (every bit pattern of the rest is valid).
Expected values, always float32: gguf.quants.dequantize of the stored bytes.

Run: python make_quants.py
"""
import json
from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf.quants import dequantize, quantize
from safetensors.numpy import save_file

HERE = Path(__file__).parent
SHAPE = (4, 512)
# bytes of a block of 256 values, and where its float16 scales lie
K_BLOCKS = {Type.Q2_K: (84, [80, 82]), Type.Q3_K: (110, [108]), Type.Q4_K: (144, [0, 2]),
            Type.Q5_K: (176, [0, 2]), Type.Q6_K: (210, [208])}
rng = np.random.default_rng(5)
META = {"test.u8": 7, "test.i32": -12345, "test.u64": 2**40 + 3, "test.f32": 0.15625, "test.bool": True,
        "test.string": "naïve 日本 🙂", "test.strings": ["a", "", "ĠĊ"], "test.ints": [1, -2, 3], "test.floats": [0.5, -1.25]}

writer, expected = gguf.GGUFWriter(HERE / "quants.gguf", "test"), {}
writer.add_uint8("test.u8", META["test.u8"])
writer.add_int32("test.i32", META["test.i32"])
writer.add_uint64("test.u64", META["test.u64"])
writer.add_float32("test.f32", META["test.f32"])
writer.add_bool("test.bool", META["test.bool"])
writer.add_string("test.string", META["test.string"])
for k in ("test.strings", "test.ints", "test.floats"):
    writer.add_array(k, META[k])

odd = rng.standard_normal(5, dtype=np.float32)
writer.add_tensor("odd", odd)
expected["odd"] = odd
for kind in (Type.F32, Type.F16, Type.BF16, Type.Q8_0, Type.Q4_0, Type.Q4_1, Type.Q5_0, Type.Q5_1):
    x = rng.standard_normal(SHAPE, dtype=np.float32)
    data = x if kind == Type.F32 else x.astype(np.float16) if kind == Type.F16 else quantize(x, kind)
    writer.add_tensor(kind.name.lower(), data, raw_dtype=kind)
    expected[kind.name.lower()] = data.astype(np.float32) if kind in (Type.F32, Type.F16) else dequantize(data, kind)
for kind, (size, scales) in K_BLOCKS.items():
    blocks = rng.integers(0, 256, (SHAPE[0] * SHAPE[1] // 256, size), dtype=np.uint8)
    for at in scales:
        scale = (rng.uniform(0.001, 0.05, len(blocks)) * rng.choice([-1, 1], len(blocks))).astype(np.float16)
        blocks[:, at : at + 2] = scale[:, None].view(np.uint8)
    data = blocks.reshape(SHAPE[0], -1)
    writer.add_tensor(kind.name.lower(), data, raw_dtype=kind)
    expected[kind.name.lower()] = dequantize(data, kind)
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()

save_file({k: np.ascontiguousarray(v, dtype=np.float32) for k, v in expected.items()}, HERE / "quants.safetensors")
(HERE / "quants.json").write_text(json.dumps({"general.architecture": "test", **META}, ensure_ascii=False, indent=1) + "\n")
