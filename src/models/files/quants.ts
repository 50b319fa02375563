// Dequantises llama.cpp's block formats to float32. Layouts from ggml-common.h: a block holds 32 values, a K block 256.

interface Quant {
  values: number;
  bytes: number;
  /** Dequantises the block at byte `at` into `out`, starting at index `to`. */
  decode(view: DataView, at: number, out: Float32Array, to: number): void;
}

/** All IEEE half-precision values, by their bits. */
const halves = Float32Array.from({ length: 65536 }, (_, bits) => {
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  const sign = bits & 0x8000 ? -1 : 1;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
});
const half = (view: DataView, at: number) => halves[view.getUint16(at, true)] as number;

const bits = new DataView(new ArrayBuffer(4));
function bfloat(view: DataView, at: number): number {
  bits.setUint32(0, view.getUint16(at, true) << 16);
  return bits.getFloat32(0);
}

const float = (bytes: number, read: (view: DataView, at: number) => number): Quant => ({
  values: 1,
  bytes,
  decode: (view, at, out, to) => {
    out[to] = read(view, at);
  },
});

/** 4- and 5-bit blocks of 32: low nibbles are the first half. With a minimum, value = d·q + m, else d·(q − centre). */
function nibbles(fifthBit: boolean, hasMinimum: boolean): Quant {
  const header = hasMinimum ? 4 : 2;
  const quants = header + (fifthBit ? 4 : 0);
  const centre = hasMinimum ? 0 : fifthBit ? 16 : 8;
  return {
    values: 32,
    bytes: quants + 16,
    decode(view, at, out, to) {
      const d = half(view, at);
      const m = hasMinimum ? half(view, at + 2) : 0;
      const high = fifthBit ? view.getUint32(at + header, true) : 0;
      for (let i = 0; i < 16; i++) {
        const q = view.getUint8(at + quants + i);
        const low = (q & 15) | (((high >>> i) & 1) << 4);
        const top = (q >> 4) | (((high >>> (i + 16)) & 1) << 4);
        out[to + i] = Math.fround(d * (low - centre)) + m;
        out[to + i + 16] = Math.fround(d * (top - centre)) + m;
      }
    },
  };
}

/** The 6-bit scale and minimum of sub-block j of Q4_K and Q5_K, packed in 12 bytes. */
function scaleAndMinimum(view: DataView, at: number, j: number): [number, number] {
  const byte = (i: number) => view.getUint8(at + i);
  if (j < 4) return [byte(j) & 63, byte(j + 4) & 63];
  return [(byte(j + 4) & 15) | ((byte(j - 4) >> 6) << 4), (byte(j + 4) >> 4) | ((byte(j) >> 6) << 4)];
}

function kNibbles(fifthBit: boolean): Quant {
  const quants = fifthBit ? 48 : 16;
  return {
    values: 256,
    bytes: quants + 128,
    decode(view, at, out, to) {
      const d = half(view, at);
      const dMin = half(view, at + 2);
      for (let j = 0; j < 8; j++) {
        const [scale, minimum] = scaleAndMinimum(view, at + 4, j);
        const s = Math.fround(d * scale);
        const m = Math.fround(dMin * minimum);
        for (let i = 0; i < 32; i++) {
          const q = view.getUint8(at + quants + (j >> 1) * 32 + i);
          const fifth = fifthBit ? ((view.getUint8(at + 16 + i) >> j) & 1) << 4 : 0;
          out[to + j * 32 + i] = Math.fround(s * ((j & 1 ? q >> 4 : q & 15) | fifth)) - m;
        }
      }
    },
  };
}

const q2K: Quant = {
  values: 256,
  bytes: 84,
  decode(view, at, out, to) {
    const d = half(view, at + 80);
    const dMin = half(view, at + 82);
    for (let i = 0; i < 256; i++) {
      const scale = view.getUint8(at + (i >> 4));
      const q = (view.getUint8(at + 16 + (i >> 7) * 32 + (i & 31)) >> (((i >> 5) & 3) * 2)) & 3;
      out[to + i] = Math.fround(Math.fround(d * (scale & 15)) * q) - Math.fround(dMin * (scale >> 4));
    }
  },
};

const q3K: Quant = {
  values: 256,
  bytes: 110,
  decode(view, at, out, to) {
    const d = half(view, at + 108);
    for (let i = 0; i < 256; i++) {
      const j = i >> 4;
      const low = (view.getUint8(at + 96 + (j & 7)) >> (j < 8 ? 0 : 4)) & 15;
      const scale = (low | (((view.getUint8(at + 104 + (j & 3)) >> ((j >> 2) * 2)) & 3) << 4)) - 32;
      const two = (view.getUint8(at + 32 + (i >> 7) * 32 + (i & 31)) >> (((i >> 5) & 3) * 2)) & 3;
      const high = (view.getUint8(at + (i & 31)) >> (i >> 5)) & 1;
      out[to + i] = Math.fround(d * scale) * (two - (high ? 0 : 4));
    }
  },
};

const q6K: Quant = {
  values: 256,
  bytes: 210,
  decode(view, at, out, to) {
    const d = half(view, at + 208);
    for (let i = 0; i < 256; i++) {
      const part = i >> 7;
      const place = i & 127;
      const low = (view.getUint8(at + part * 64 + (place & 63)) >> (place < 64 ? 0 : 4)) & 15;
      const high = (view.getUint8(at + 128 + part * 32 + (place & 31)) >> ((place >> 5) * 2)) & 3;
      const scale = view.getInt8(at + 192 + (i >> 4));
      out[to + i] = Math.fround(d * scale) * ((low | (high << 4)) - 32);
    }
  },
};

/** Block formats by ggml's type number. */
const quants = new Map<number, Quant>([
  [0, float(4, (view, at) => view.getFloat32(at, true))],
  [1, float(2, half)],
  [2, nibbles(false, false)],
  [3, nibbles(false, true)],
  [6, nibbles(true, false)],
  [7, nibbles(true, true)],
  [
    8,
    {
      values: 32,
      bytes: 34,
      decode(view, at, out, to) {
        const d = half(view, at);
        for (let i = 0; i < 32; i++) out[to + i] = d * view.getInt8(at + 2 + i);
      },
    },
  ],
  [10, q2K],
  [11, q3K],
  [12, kNibbles(false)],
  [13, kNibbles(true)],
  [14, q6K],
  [30, float(2, bfloat)],
]);

/** Number of values and of bytes of a block, by ggml's type number. */
export const blockSizes: ReadonlyMap<number, { values: number; bytes: number }> = quants;

export function dequantise(type: number, bytes: Uint8Array, count: number): Float32Array {
  const quant = quants.get(type);
  if (!quant) throw new Error(`unknown ggml type ${type}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const out = new Float32Array(count);
  for (let at = 0, to = 0; to < count; at += quant.bytes, to += quant.values) quant.decode(view, at, out, to);
  return out;
}
