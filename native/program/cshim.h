// The C entry points of the loaded libtorch that the program executor uses.
//
// torch keeps these symbols stable across releases for compiled models and extensions, so one build
// of this module works with every torch that has them. Nothing is linked: the table is filled from
// the library that Python has already loaded.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace torchair::program {

struct AtenTensor; // opaque: an at::Tensor on the heap
using TensorHandle = AtenTensor*;
struct ProxyExecutor; // opaque: torch's AOTInductor proxy executor
using ProxyHandle = ProxyExecutor*;
struct StableList; // opaque: a list argument or result of the stable dispatcher
using StableListHandle = StableList*;
using StableValue = std::uint64_t;
using ErrorCode = std::int32_t;

struct CShim {
  ErrorCode (*new_undefined_tensor)(TensorHandle*);
  ErrorCode (*new_tensor_handle)(TensorHandle, TensorHandle*);
  ErrorCode (*delete_tensor)(TensorHandle);
  ErrorCode (*assign_tensor)(TensorHandle source, TensorHandle target);
  ErrorCode (*call_proxy)(ProxyHandle, int node, int n_ints, std::int64_t* ints, int n_tensors,
                          TensorHandle* tensors);
  ErrorCode (*call_dispatcher)(const char* op, const char* overload, StableValue* stack,
                               std::uint64_t build_version);
  ErrorCode (*new_list)(std::size_t, StableListHandle*);
  ErrorCode (*list_push_back)(StableListHandle, StableValue);
  ErrorCode (*list_size)(StableListHandle, std::size_t*);
  ErrorCode (*list_get)(StableListHandle, std::size_t, StableValue*);
  ErrorCode (*delete_list)(StableListHandle);
  ErrorCode (*new_stable_value)(StableValue**);
  ErrorCode (*is_defined)(TensorHandle, bool*);
  ErrorCode (*get_data_ptr)(TensorHandle, void**);
  ErrorCode (*get_dtype)(TensorHandle, std::int32_t*);
  ErrorCode (*get_device_type)(TensorHandle, std::int32_t*);
  ErrorCode (*get_layout)(TensorHandle, std::int32_t*);
  ErrorCode (*get_dim)(TensorHandle, std::int64_t*);
  ErrorCode (*get_sizes)(TensorHandle, std::int64_t**);         // borrowed
  ErrorCode (*get_strides)(TensorHandle, std::int64_t**);       // borrowed
  ErrorCode (*get_storage_offset)(TensorHandle, std::int64_t*); // in elements
  ErrorCode (*get_storage_size)(TensorHandle, std::int64_t*);   // in bytes
  ErrorCode (*tensor_from_blob)(void* data, std::int64_t n_dims, const std::int64_t* sizes,
                                const std::int64_t* strides, std::int64_t storage_offset,
                                std::int32_t dtype, std::int32_t device_type,
                                std::int32_t device_index, TensorHandle*);
  ErrorCode (*empty_strided)(std::int64_t n_dims, const std::int64_t* sizes,
                             const std::int64_t* strides, std::int32_t dtype,
                             std::int32_t device_type, std::int32_t device_index, TensorHandle*);
  std::size_t (*element_size)(std::int32_t dtype);
  void (*set_grad_mode)(bool);
  ErrorCode (*num_threads)(std::uint32_t*);
  ErrorCode (*parallel_for)(std::int64_t begin, std::int64_t end, std::int64_t grain,
                            void (*)(std::int64_t begin, std::int64_t end, void*), void*);
  std::int32_t cpu; // the device type
  std::int32_t float32;
  std::int32_t strided; // the layout
  const char* (*last_error)();
  std::uint64_t (*abi_version)();
};

// The filled table. Throws std::runtime_error when torch is not loaded or a symbol is missing.
const CShim& cshim();

// The value of a torch enumerator, asked from its C getter, e.g. "aoti_torch_dtype_float32".
// Throws std::invalid_argument for a name that libtorch does not export.
std::int32_t torch_enumerator(const std::string& getter);

// Makes torch on this thread, which is a worker's, compute as a program does: without grad mode and
// below the layers of autograd, with the number of threads that the user has set. Costs nothing
// after the first call.
void prepare_worker_thread();

// The dispatch keys that worker threads exclude: numbers of the loaded torch.
void set_worker_excluded_keys(const std::vector<std::uint16_t>& keys);

// Throws std::runtime_error with torch's text when code says that a call failed.
void check(ErrorCode code);

} // namespace torchair::program
