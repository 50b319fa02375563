"""Writes the weights of a GGUF file in another type. Usage: gguf-type.py FROM.gguf TO.gguf TYPE"""
import sys

from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter, quants

source, target, name = sys.argv[1:]
reader = GGUFReader(source)
writer = GGUFWriter(target, reader.fields["general.architecture"].contents())
for field in reader.fields.values():
    if field.name.startswith("GGUF.") or field.name == "general.architecture":
        continue
    kind = field.types[0]
    item = field.types[-1] if kind == GGUFValueType.ARRAY else None
    writer.add_key_value(field.name, field.contents(), kind, sub_type=item)
for tensor in reader.tensors:
    kind = GGMLQuantizationType[name] if len(tensor.shape) > 1 else GGMLQuantizationType.F32
    values = quants.dequantize(tensor.data, tensor.tensor_type)
    writer.add_tensor(tensor.name, quants.quantize(values, kind), raw_dtype=kind)
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
