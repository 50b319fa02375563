/** libtorch's codes of element types. */
const codes = {
  uint8: 0,
  int8: 1,
  int16: 2,
  int32: 3,
  int64: 4,
  float16: 5,
  float32: 6,
  float64: 7,
  bool: 11,
  bfloat16: 15,
} as const;

/** Element type of a tensor. */
export type DType = keyof typeof codes;

const names = new Map<number, DType>(Object.entries(codes).map(([name, code]) => [code, name as DType]));

const widths: Record<DType, number> = {
  uint8: 1,
  int8: 1,
  int16: 2,
  int32: 4,
  int64: 8,
  float16: 2,
  float32: 4,
  float64: 8,
  bool: 1,
  bfloat16: 2,
};

/** Returns libtorch's code of a dtype. @throws TypeError for an unknown one */
export function dtypeCode(dtype: DType): number {
  const code = codes[dtype];
  if (code === undefined)
    throw new TypeError(`unknown dtype "${dtype}": use one of ${Object.keys(codes).join(", ")}`);
  return code;
}

/** Returns the dtype of libtorch's code. */
export const dtypeName = (code: number): DType => names.get(code) ?? (`dtype#${code}` as DType);

/** Returns the number of bytes of one element. */
export const dtypeBytes = (dtype: DType): number => widths[dtype];
