// Node binding of libtorch: calls any operator by its schema. Contains nothing specific to a model.
//
// JavaScript refers to a tensor by a handle: slot + generation * 2^24, a safe integer. The generation changes when a
// slot is freed, so that using a stale handle is an error instead of reading another tensor.
#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/core/CPUAllocator.h>
#include <napi.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/grad_mode.h>

#include <cmath>
#include <cstring>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "cpu.h"

#ifdef _WIN32
#error "Windows is not supported yet: use WSL"
#endif
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

using at::Tensor;
using c10::IValue;
using c10::TypeKind;
using Napi::CallbackInfo;

namespace {

constexpr double kSlots = 16777216.0;  // 2^24

struct Pool {
  std::vector<Tensor> tensors;
  std::vector<uint32_t> generations;
  std::vector<uint32_t> vacant;
  size_t live = 0;

  double put(Tensor tensor) {
    uint32_t slot;
    if (!vacant.empty()) {
      slot = vacant.back();
      vacant.pop_back();
      tensors[slot] = std::move(tensor);
    } else {
      TORCH_CHECK(tensors.size() < size_t(kSlots), "more than 16,777,216 live tensors");
      slot = tensors.size();
      tensors.push_back(std::move(tensor));
      generations.push_back(1);
    }
    ++live;
    return double(generations[slot]) * kSlots + slot;
  }

  // Returns the slot of a live handle, or -1.
  int64_t find(double handle) const {
    if (!(handle >= kSlots) || handle > 9007199254740991.0) return -1;
    const auto whole = uint64_t(handle);
    const auto slot = uint32_t(whole & 0xffffff);
    const auto generation = uint32_t(whole >> 24);
    if (slot >= tensors.size() || generations[slot] != generation || !tensors[slot].defined()) return -1;
    return slot;
  }

  Tensor& get(double handle) {
    const auto slot = find(handle);
    TORCH_CHECK(slot >= 0, "this tensor was freed (or is not a tensor)");
    return tensors[slot];
  }

  void free(double handle) {
    const auto slot = find(handle);
    if (slot < 0) return;
    tensors[slot] = Tensor();
    // Generations have 29 bits, which keeps handles below 2^53. A slot that has used all of them is not reused.
    if (++generations[slot] < (1u << 29)) vacant.push_back(slot);
    --live;
  }
};

struct Operator {
  c10::OperatorHandle handle;
  std::vector<c10::TypePtr> types;
  std::vector<std::optional<int32_t>> sizes;
  std::vector<std::optional<IValue>> defaults;
  bool returnsSelf;  // in place: the caller has the handle already
};

Pool pool;
std::vector<Operator> operators;
// Generators by id. Ids are never reused, so that using a disposed generator is an error.
std::unordered_map<double, at::Generator> generators;
double generatorsMade = 0;

// ---- JavaScript values to IValues, with the plain C N-API: this is the hot path ----

double toDouble(napi_env env, napi_value value, const char* what) {
  double number;
  TORCH_CHECK(napi_get_value_double(env, value, &number) == napi_ok, "expected ", what);
  return number;
}

int64_t toInt(napi_env env, napi_value value) {
  const double number = toDouble(env, value, "an integer");
  TORCH_CHECK(std::trunc(number) == number && std::abs(number) <= 9.3e18, "expected an integer, got ", number);
  return number >= 9223372036854775807.0 ? INT64_MAX : int64_t(number);
}

std::string toString(napi_env env, napi_value value) {
  size_t length;
  TORCH_CHECK(napi_get_value_string_utf8(env, value, nullptr, 0, &length) == napi_ok, "expected a string");
  std::string text(length, '\0');
  napi_get_value_string_utf8(env, value, text.data(), length + 1, &length);
  return text;
}

uint32_t arrayLength(napi_env env, napi_value value) {
  uint32_t length;
  TORCH_CHECK(napi_get_array_length(env, value, &length) == napi_ok, "expected an array");
  return length;
}

napi_value element(napi_env env, napi_value array, uint32_t index) {
  napi_value value;
  TORCH_CHECK(napi_get_element(env, array, index, &value) == napi_ok, "unreadable array element");
  return value;
}

bool isNullish(napi_env env, napi_value value) {
  napi_valuetype type;
  napi_typeof(env, value, &type);
  return type == napi_undefined || type == napi_null;
}

at::Generator& generatorAt(double id) {
  const auto found = generators.find(id);
  TORCH_CHECK(found != generators.end(), "this generator was disposed (or is not a generator)");
  return found->second;
}

IValue toIValue(napi_env env, napi_value value, const c10::Type& type, std::optional<int32_t> size) {
  switch (type.kind()) {
    case TypeKind::TensorType:
      return pool.get(toDouble(env, value, "a tensor"));
    case TypeKind::OptionalType:
      if (isNullish(env, value)) return IValue();
      return toIValue(env, value, *type.castRaw<c10::OptionalType>()->getElementType(), size);
    case TypeKind::IntType:
    case TypeKind::SymIntType:
    case TypeKind::ScalarTypeType:
    case TypeKind::LayoutType:
    case TypeKind::MemoryFormatType:
      return toInt(env, value);
    case TypeKind::FloatType:
      return toDouble(env, value, "a number");
    case TypeKind::NumberType: {
      napi_valuetype kind;
      napi_typeof(env, value, &kind);
      if (kind == napi_boolean) {
        bool flag;
        napi_get_value_bool(env, value, &flag);
        return flag;
      }
      const double number = toDouble(env, value, "a number");
      if (std::trunc(number) == number && std::abs(number) < 9007199254740992.0 && !(number == 0 && std::signbit(number)))
        return int64_t(number);
      return number;
    }
    case TypeKind::BoolType: {
      bool flag;
      TORCH_CHECK(napi_get_value_bool(env, value, &flag) == napi_ok, "expected a boolean");
      return flag;
    }
    case TypeKind::StringType:
      return toString(env, value);
    case TypeKind::DeviceObjType:
      return c10::Device(toString(env, value));
    case TypeKind::GeneratorType:
      return generatorAt(toDouble(env, value, "a generator"));
    case TypeKind::ListType: {
      const auto& of = *type.castRaw<c10::ListType>()->getElementType();
      bool isArray = false;
      napi_is_array(env, value, &isArray);
      // A list of fixed size, such as `int[2] stride`, accepts one number for all elements.
      const uint32_t length = isArray ? arrayLength(env, value) : uint32_t(size.value_or(0));
      TORCH_CHECK(isArray || length > 0, "expected an array");
      const auto at = [&](uint32_t i) { return isArray ? element(env, value, i) : value; };
      if (of.kind() == TypeKind::IntType || of.kind() == TypeKind::SymIntType) {
        c10::List<int64_t> list;
        list.reserve(length);
        for (uint32_t i = 0; i < length; ++i) list.push_back(toInt(env, at(i)));
        return list;
      }
      if (of.kind() == TypeKind::TensorType) {
        c10::List<Tensor> list;
        list.reserve(length);
        for (uint32_t i = 0; i < length; ++i) list.push_back(pool.get(toDouble(env, at(i), "a tensor")));
        return list;
      }
      c10::impl::GenericList list(type.castRaw<c10::ListType>()->getElementType());
      for (uint32_t i = 0; i < length; ++i) list.push_back(toIValue(env, at(i), of, {}));
      // Boxed kernels require the specialised list types.
      if (of.kind() == TypeKind::FloatType) return c10::impl::toTypedList<double>(list);
      if (of.kind() == TypeKind::BoolType) return c10::impl::toTypedList<bool>(list);
      return list;
    }
    default:
      TORCH_CHECK(false, "arguments of type ", type.repr_str(), " are not supported");
  }
}

napi_value toValue(napi_env env, const IValue& value) {
  napi_value result = nullptr;
  if (value.isTensor()) {
    auto tensor = value.toTensor();
    if (!tensor.defined())
      napi_get_null(env, &result);
    else
      napi_create_double(env, pool.put(std::move(tensor)), &result);
  } else if (value.isInt()) {
    napi_create_double(env, double(value.toInt()), &result);
  } else if (value.isDouble()) {
    napi_create_double(env, value.toDouble(), &result);
  } else if (value.isBool()) {
    napi_get_boolean(env, value.toBool(), &result);
  } else if (value.isScalar()) {
    napi_create_double(env, value.toScalar().toDouble(), &result);
  } else if (value.isString()) {
    napi_create_string_utf8(env, value.toStringRef().data(), value.toStringRef().size(), &result);
  } else if (value.isNone()) {
    napi_get_null(env, &result);
  } else if (value.isList()) {
    const auto list = value.toListRef();
    napi_create_array_with_length(env, list.size(), &result);
    for (size_t i = 0; i < list.size(); ++i) napi_set_element(env, result, i, toValue(env, list[i]));
  } else {
    TORCH_CHECK(false, "results of type ", value.tagKind(), " are not supported");
  }
  return result;
}

void raise(napi_env env, const std::exception& error) {
  const auto* torch = dynamic_cast<const c10::Error*>(&error);
  napi_throw_error(env, nullptr, torch ? torch->what_without_backtrace() : error.what());
}

// call(operator, ...arguments in schema order): calls an operator. undefined stands for the schema's default.
napi_value call(napi_env env, napi_callback_info info) {
  constexpr size_t kMost = 64;
  size_t count = kMost;
  napi_value given[kMost];
  napi_get_cb_info(env, info, &count, given, nullptr, nullptr);
  size_t at = 0;
  const Operator* op = nullptr;
  try {
    const auto id = toInt(env, given[0]);
    TORCH_CHECK(id >= 0 && size_t(id) < operators.size(), "no such operator");
    op = &operators[id];
    torch::jit::Stack stack;
    stack.reserve(op->types.size() + 2);
    for (at = 0; at < op->types.size(); ++at) {
      napi_valuetype kind = napi_undefined;
      if (at + 1 < count) napi_typeof(env, given[at + 1], &kind);
      if (kind != napi_undefined) {
        stack.push_back(toIValue(env, given[at + 1], *op->types[at], op->sizes[at]));
      } else {
        TORCH_CHECK(op->defaults[at].has_value(), "missing");
        stack.push_back(*op->defaults[at]);
      }
    }
    at = SIZE_MAX;
    op->handle.callBoxed(stack);
    napi_value result = nullptr;
    if (op->returnsSelf || stack.empty()) {
      napi_get_undefined(env, &result);
    } else if (stack.size() == 1) {
      result = toValue(env, stack[0]);
    } else {
      napi_create_array_with_length(env, stack.size(), &result);
      for (size_t i = 0; i < stack.size(); ++i) napi_set_element(env, result, i, toValue(env, stack[i]));
    }
    return result;
  } catch (const std::exception& error) {
    if (op && at != SIZE_MAX) {
      const auto* torch = dynamic_cast<const c10::Error*>(&error);
      const auto text = "argument '" + op->handle.schema().arguments()[at].name() +
                        "': " + (torch ? torch->what_without_backtrace() : error.what());
      napi_throw_error(env, nullptr, text.c_str());
    } else {
      raise(env, error);
    }
    return nullptr;
  }
}

// free(handles): frees the handles that are live.
napi_value freeTensors(napi_env env, napi_callback_info info) {
  size_t count = 1;
  napi_value handles;
  napi_get_cb_info(env, info, &count, &handles, nullptr, nullptr);
  try {
    const auto length = arrayLength(env, handles);
    for (uint32_t i = 0; i < length; ++i) pool.free(toDouble(env, element(env, handles, i), "a handle"));
  } catch (const std::exception& error) {
    raise(env, error);
  }
  return nullptr;
}

// ---- all other functions, with node-addon-api ----

template <class Body>
Napi::Value guarded(const CallbackInfo& info, Body body) {
  try {
    return body();
  } catch (const Napi::Error&) {
    throw;
  } catch (const c10::Error& error) {
    throw Napi::Error::New(info.Env(), error.what_without_backtrace());
  } catch (const std::exception& error) {
    throw Napi::Error::New(info.Env(), error.what());
  }
}

double number(const CallbackInfo& info, size_t i) {
  TORCH_CHECK(info[i].IsNumber(), "argument ", i, ": expected a number");
  return info[i].As<Napi::Number>().DoubleValue();
}

std::string text(const CallbackInfo& info, size_t i) {
  TORCH_CHECK(info[i].IsString(), "argument ", i, ": expected a string");
  return info[i].As<Napi::String>().Utf8Value();
}

Tensor& tensor(const CallbackInfo& info, size_t i) { return pool.get(number(info, i)); }

std::vector<int64_t> shape(const Napi::Value& value) {
  TORCH_CHECK(value.IsArray(), "expected a shape: an array of integers");
  const auto array = value.As<Napi::Array>();
  std::vector<int64_t> sizes;
  for (uint32_t i = 0; i < array.Length(); ++i) {
    sizes.push_back(toInt(value.Env(), array.Get(i)));
    TORCH_CHECK(sizes.back() >= 0, "a shape has no negative sizes");
  }
  return sizes;
}

at::ScalarType scalarType(double code) {
  TORCH_CHECK(code >= 0 && code < double(at::ScalarType::NumOptions), "not a dtype");
  return at::ScalarType(int8_t(code));
}

std::string typeName(const c10::Type& type) {
  switch (type.kind()) {
    case TypeKind::OptionalType:
      return typeName(*type.castRaw<c10::OptionalType>()->getElementType()) + "?";
    case TypeKind::ListType:
      return typeName(*type.castRaw<c10::ListType>()->getElementType()) + "[]";
    case TypeKind::SymIntType:
      return "int";
    case TypeKind::NumberType:
      return "Scalar";
    case TypeKind::ScalarTypeType:
      return "ScalarType";
    case TypeKind::MemoryFormatType:
      return "MemoryFormat";
    case TypeKind::LayoutType:
      return "Layout";
    default:
      return type.repr_str();
  }
}

Napi::Value operatorNames(const CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    std::unordered_set<std::string> seen;
    auto names = Napi::Array::New(info.Env());
    for (const auto& op : c10::Dispatcher::singleton().getAllOpNames())
      if (seen.insert(op.name).second) names.Set(names.Length(), op.name);
    return names;
  });
}

// schemas(name): returns the overloads of an operator, each with its id for `call`.
Napi::Value schemas(const CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    const auto wanted = text(info, 0);
    auto overloads = Napi::Array::New(info.Env());
    static const auto byName = [] {
      std::unordered_map<std::string, std::vector<c10::OperatorName>> names;
      for (auto& name : c10::Dispatcher::singleton().getAllOpNames()) names[name.name].push_back(name);
      return names;
    }();
    const auto found = byName.find(wanted);
    if (found == byName.end()) return overloads;
    for (const auto& name : found->second) {
      const auto handle = c10::Dispatcher::singleton().findSchema(name);
      if (!handle) continue;  // registered without a schema
      const auto& schema = handle->schema();
      const auto& args = schema.arguments();
      const auto& returns = schema.returns();
      Operator op{*handle, {}, {}, {}, false};
      auto described = Napi::Array::New(info.Env());
      for (const auto& arg : args) {
        op.types.push_back(arg.real_type());
        op.sizes.push_back(arg.N());
        op.defaults.push_back(arg.default_value());
        auto entry = Napi::Object::New(info.Env());
        entry.Set("name", arg.name());
        entry.Set("type", typeName(*arg.real_type()));
        entry.Set("sized", arg.N().has_value());
        entry.Set("optional", arg.default_value().has_value());
        entry.Set("named", arg.kwarg_only());
        described.Set(described.Length(), entry);
      }
      op.returnsSelf = returns.size() == 1 && !args.empty() && args[0].alias_info() && args[0].alias_info()->isWrite() &&
                       returns[0].alias_info() && *returns[0].alias_info() == *args[0].alias_info();
      auto results = Napi::Array::New(info.Env());
      for (const auto& result : returns) results.Set(results.Length(), typeName(*result.real_type()));
      auto entry = Napi::Object::New(info.Env());
      entry.Set("id", double(operators.size()));
      entry.Set("overload", name.overload_name);
      entry.Set("arguments", described);
      entry.Set("returns", results);
      entry.Set("returnsSelf", op.returnsSelf);
      overloads.Set(overloads.Length(), entry);
      operators.push_back(std::move(op));
    }
    return overloads;
  });
}

// fromBytes(arrayBuffer, byteOffset, byteLength, shape, dtype): copies the bytes into a new tensor.
Napi::Value fromBytes(const CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    TORCH_CHECK(info[0].IsArrayBuffer(), "expected an ArrayBuffer");
    auto buffer = info[0].As<Napi::ArrayBuffer>();
    const auto offset = size_t(number(info, 1)), length = size_t(number(info, 2));
    TORCH_CHECK(offset + length <= buffer.ByteLength(), "the view reaches past its buffer");
    auto made = at::empty(shape(info[3]), at::TensorOptions().dtype(scalarType(number(info, 4))));
    TORCH_CHECK(made.nbytes() == length, "a tensor of shape ", made.sizes(), " and type ", made.scalar_type(), " takes ",
                made.nbytes(), " bytes, got ", length);
    if (length) std::memcpy(made.mutable_data_ptr(), static_cast<char*>(buffer.Data()) + offset, length);
    return Napi::Number::New(info.Env(), pool.put(std::move(made)));
  });
}

// toBytes(handle): copies the tensor's values, made contiguous, into a new ArrayBuffer.
Napi::Value toBytes(const CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    const auto from = tensor(info, 0).detach().to(at::kCPU).contiguous();
    auto buffer = Napi::ArrayBuffer::New(info.Env(), from.nbytes());
    if (from.nbytes()) std::memcpy(buffer.Data(), from.const_data_ptr(), from.nbytes());
    return buffer;
  });
}

struct Mapping {
  void* data = MAP_FAILED;
  size_t size = 0;
  explicit Mapping(const std::string& path) {
    const int file = open(path.c_str(), O_RDONLY);
    TORCH_CHECK(file >= 0, "cannot open ", path, ": ", std::strerror(errno));
    struct stat status {};
    if (fstat(file, &status) == 0 && status.st_size > 0) {
      size = size_t(status.st_size);
      // A private mapping: writing to a tensor does not change the file.
      data = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
    }
    const int problem = errno;
    close(file);
    TORCH_CHECK(data != MAP_FAILED, "cannot map ", path, ": ", std::strerror(problem));
  }
  ~Mapping() {
    if (data != MAP_FAILED) munmap(data, size);
  }
  Mapping(const Mapping&) = delete;
};

// mapFile(path, [[offset, shape, dtype], …]): returns handles of tensors whose memory is the mapped file.
Napi::Value mapFile(const CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    const auto path = text(info, 0);
    const auto mapping = std::make_shared<Mapping>(path);
    TORCH_CHECK(info[1].IsArray(), "expected an array of entries");
    const auto entries = info[1].As<Napi::Array>();
    std::vector<Tensor> made;
    for (uint32_t i = 0; i < entries.Length(); ++i) {
      const auto entry = entries.Get(i).As<Napi::Array>();
      const auto offset = toDouble(info.Env(), entry.Get(0u), "an offset");
      const auto sizes = shape(entry.Get(1u));
      const auto dtype = scalarType(toDouble(info.Env(), entry.Get(2u), "a dtype"));
      double bytes = double(c10::elementSize(dtype));
      for (const auto size : sizes) bytes *= double(size);
      TORCH_CHECK(offset >= 0 && offset + bytes <= double(mapping->size), path, " is too short: a tensor ends at byte ",
                  size_t(offset + bytes), " of ", mapping->size);
      auto* data = static_cast<char*>(mapping->data) + size_t(offset);
      const auto options = at::TensorOptions().dtype(dtype);
      if (reinterpret_cast<uintptr_t>(data) % c10::elementSize(dtype)) {
        auto copy = at::empty(sizes, options);
        std::memcpy(copy.mutable_data_ptr(), data, size_t(bytes));
        made.push_back(std::move(copy));
      } else {
        made.push_back(at::from_blob(data, sizes, [mapping](void*) {}, options));
      }
    }
    auto handles = Napi::Array::New(info.Env(), made.size());
    for (size_t i = 0; i < made.size(); ++i) handles.Set(uint32_t(i), pool.put(std::move(made[i])));
    return handles;
  });
}

Napi::Value describe(const CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    const auto& of = tensor(info, 0);
    auto sizes = Napi::Array::New(info.Env(), of.dim());
    for (int64_t i = 0; i < of.dim(); ++i) sizes.Set(uint32_t(i), double(of.size(i)));
    auto result = Napi::Object::New(info.Env());
    result.Set("shape", sizes);
    result.Set("dtype", double(of.scalar_type()));
    result.Set("device", of.device().str());
    return result;
  });
}

Napi::Value item(const CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    const auto& of = tensor(info, 0);
    TORCH_CHECK(of.numel() == 1, "item() needs a tensor of one element, this one has ", of.numel());
    return Napi::Number::New(info.Env(), of.item().toDouble());
  });
}

Napi::Value isLive(const CallbackInfo& info) {
  return Napi::Boolean::New(info.Env(), info[0].IsNumber() && pool.find(info[0].As<Napi::Number>().DoubleValue()) >= 0);
}

Napi::Value requiresGrad(const CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    auto& of = tensor(info, 0);
    if (info.Length() > 1) of.set_requires_grad(info[1].ToBoolean().Value());
    return Napi::Boolean::New(info.Env(), of.requires_grad());
  });
}

// backward(handle, gradient or null, retainGraph): runs backward from a tensor.
Napi::Value backward(const CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    const auto gradient = info[1].IsNumber() ? tensor(info, 1) : Tensor();
    torch::autograd::backward({tensor(info, 0)}, {gradient}, info[2].ToBoolean().Value());
    return info.Env().Undefined();
  });
}

// grad(handle): returns the accumulated gradient or null. grad(handle, null or handle): sets it.
Napi::Value grad(const CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    auto& of = tensor(info, 0);
    if (info.Length() > 1) {
      of.mutable_grad() = info[1].IsNumber() ? tensor(info, 1) : Tensor();
      return info.Env().Undefined();
    }
    const auto& gradient = of.grad();
    if (!gradient.defined()) return info.Env().Null();
    return Napi::Number::New(info.Env(), pool.put(gradient));
  });
}

Napi::Value gradMode(const CallbackInfo& info) {
  const bool before = at::GradMode::is_enabled();
  if (info.Length() > 0) at::GradMode::set_enabled(info[0].ToBoolean().Value());
  return Napi::Boolean::New(info.Env(), before);
}

// generator(seed, device): creates a random number generator and returns its id.
Napi::Value generator(const CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    const c10::Device device(text(info, 1));
    auto made = device.is_cpu() ? at::detail::createCPUGenerator() : at::globalContext().defaultGenerator(device).clone();
    made.set_current_seed(uint64_t(number(info, 0)));
    generators.emplace(generatorsMade, made);
    return Napi::Number::New(info.Env(), generatorsMade++);
  });
}

Napi::Value freeGenerator(const CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    generators.erase(number(info, 0));
    return info.Env().Undefined();
  });
}

// generatorState(id): returns the generator's state as bytes. generatorState(id, uint8 array): restores it.
Napi::Value generatorState(const CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    auto& of = generatorAt(number(info, 0));
    if (info.Length() > 1) {
      TORCH_CHECK(info[1].IsTypedArray(), "expected a Uint8Array");
      const auto bytes = info[1].As<Napi::Uint8Array>();
      auto state = at::empty({int64_t(bytes.ByteLength())}, at::kByte);
      std::memcpy(state.mutable_data_ptr(), bytes.Data(), bytes.ByteLength());
      of.set_state(state);
      return info.Env().Undefined();
    }
    const auto state = of.get_state().contiguous();
    auto bytes = Napi::Uint8Array::New(info.Env(), state.nbytes());
    std::memcpy(bytes.Data(), state.const_data_ptr(), state.nbytes());
    return bytes;
  });
}

Napi::Value threads(const CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    if (info.Length() > 0) {
      TORCH_CHECK(number(info, 0) >= 1, "at least one thread is needed");
      at::set_num_threads(int(number(info, 0)));
    }
    return Napi::Number::New(info.Env(), at::get_num_threads());
  });
}

// memory(): counts live handles, generators, and the bytes of their storages, each storage once.
Napi::Value memory(const CallbackInfo& info) {
  std::unordered_set<const void*> seen;
  double bytes = 0;
  for (const auto& held : pool.tensors)
    if (held.defined() && held.has_storage() && seen.insert(held.storage().unsafeGetStorageImpl()).second)
      bytes += double(held.storage().nbytes());
  auto result = Napi::Object::New(info.Env());
  result.Set("handles", double(pool.live));
  result.Set("generators", double(generators.size()));
  result.Set("bytes", bytes);
#ifdef __GLIBC__
  const auto heap = mallinfo2();
  result.Set("allocated", double(heap.uordblks + heap.hblkhd));
#endif
  return result;
}

Napi::Value capabilities(const CallbackInfo& info) {
  auto result = Napi::Object::New(info.Env());
  result.Set("cuda", at::hasCUDA());
  result.Set("mps", at::hasMPS());
  result.Set("cpu", cpu::name(cpu::level()));
  result.Set("libtorch", at::get_cpu_capability());
  result.Set("fastBf16", cpu::hasKernels());
  return result;
}

// Peak rates of the processor's instruction sets, in GFLOP/s of one thread, by name.
Napi::Value peakRates(const CallbackInfo& info) {
  auto result = Napi::Object::New(info.Env());
  for (const auto level : cpu::kLevels)
    if (const double rate = cpu::peakRate(level)) result.Set(cpu::name(level), rate);
  return result;
}

// A caching allocator for large blocks. Each step frees and allocates the same large tensors (logits, the embedding's
// gradient), and the system zeroes new memory page by page, which took a tenth of a training step. So freed blocks of
// at least 32 MiB are cached, up to 128 MiB in all, for the next allocation of a similar size.
class Reuse final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    if (bytes < kLarge) return base->allocate(bytes);
    auto* data = take(bytes);
    if (!data) {
      data = base->raw_allocate(bytes);
      const std::lock_guard lock(guard);
      sizes[data] = bytes;
    }
    return {data, data, &release, c10::Device(c10::DeviceType::CPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, size_t count) const override { default_copy_data(to, from, count); }

  // Frees cached blocks, the oldest first, until at most `most` bytes are cached.
  void keepAtMost(size_t most) {
    const std::lock_guard lock(guard);
    while (held > most) {
      auto* data = kept.front();
      kept.erase(kept.begin());
      held -= sizes[data];
      sizes.erase(data);
      base->raw_deallocate(data);
    }
  }

 private:
  static constexpr size_t kLarge = 32 << 20, kMost = 128 << 20;
  c10::Allocator* base = c10::GetDefaultCPUAllocator();
  std::mutex guard;
  std::unordered_map<void*, size_t> sizes;
  std::vector<void*> kept;
  size_t held = 0;

  // Takes the smallest cached block that is large enough, and at most a quarter too large.
  void* take(size_t bytes) {
    const std::lock_guard lock(guard);
    auto best = kept.end();
    for (auto at = kept.begin(); at != kept.end(); ++at)
      if (sizes[*at] >= bytes && sizes[*at] <= bytes + bytes / 4 && (best == kept.end() || sizes[*at] < sizes[*best])) best = at;
    if (best == kept.end()) return nullptr;
    auto* data = *best;
    kept.erase(best);
    held -= sizes[data];
    return data;
  }

  static void release(void* data);
};

Reuse& reuse() {
  static auto* one = new Reuse;  // tensors may be freed after static objects are
  return *one;
}

void Reuse::release(void* data) {
  auto& own = reuse();
  {
    const std::lock_guard lock(own.guard);
    const auto found = own.sizes.find(data);
    if (found == own.sizes.end()) return own.base->raw_deallocate(data);
    own.kept.push_back(data);
    own.held += found->second;
  }
  own.keepAtMost(kMost);
}

// trim(): returns freed memory to the system.
void trim(const CallbackInfo&) {
  reuse().keepAtMost(0);
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  static bool taken = false;
  if (taken) throw Napi::Error::New(env, "the engine serves one thread of a process: use child processes, not workers");
  taken = true;
#ifdef __GLIBC__
  // Smaller blocks are cached by glibc.
  mallopt(M_TRIM_THRESHOLD, 512 << 20);
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
#endif
  c10::SetCPUAllocator(&reuse(), 1);
  const auto raw = [&](const char* name, napi_callback callback) {
    napi_value function;
    napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, nullptr, &function);
    exports.Set(name, Napi::Value(env, function));
  };
  raw("call", call);
  raw("free", freeTensors);
  const auto set = [&](const char* name, auto function) { exports.Set(name, Napi::Function::New(env, function, name)); };
  set("operatorNames", operatorNames);
  set("schemas", schemas);
  set("fromBytes", fromBytes);
  set("toBytes", toBytes);
  set("mapFile", mapFile);
  set("describe", describe);
  set("item", item);
  set("isLive", isLive);
  set("requiresGrad", requiresGrad);
  set("backward", backward);
  set("grad", grad);
  set("gradMode", gradMode);
  set("generator", generator);
  set("freeGenerator", freeGenerator);
  set("generatorState", generatorState);
  set("threads", threads);
  set("memory", memory);
  set("trim", trim);
  set("capabilities", capabilities);
  set("peakRates", peakRates);
  return exports;
}

}  // namespace

NODE_API_MODULE(plumbline, init)
