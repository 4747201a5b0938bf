#include "program/cshim.h"

#include <dlfcn.h>

#include <stdexcept>

namespace torchair::program {
namespace {

// `import torch` loads libtorch with local visibility, so a global look-up finds nothing: the
// library itself has to be opened again, by soname and without loading.
void* libtorch() {
  static void* const library = [] {
    void* handle = dlopen("libtorch_cpu.so", RTLD_LAZY | RTLD_NOLOAD);
    if (handle == nullptr)
      throw std::runtime_error("libtorch_cpu.so is not loaded. Try: import torch first");
    return handle;
  }();
  return library;
}

template <typename Function> void bind(Function& target, const char* symbol) {
  void* address = dlsym(libtorch(), symbol);
  if (address == nullptr)
    throw std::runtime_error(std::string("the loaded torch does not export ") + symbol +
                             ". Try: install torch 2.13 or newer");
  target = reinterpret_cast<Function>(address);
}

CShim bind_all() {
  CShim table{};
  bind(table.new_undefined_tensor, "aoti_torch_new_uninitialized_tensor");
  bind(table.new_tensor_handle, "aoti_torch_new_tensor_handle");
  bind(table.delete_tensor, "aoti_torch_delete_tensor_object");
  bind(table.assign_tensor, "aoti_torch_assign_tensors");
  bind(table.call_proxy, "aoti_torch_proxy_executor_call_function");
  bind(table.call_dispatcher, "torch_call_dispatcher");
  bind(table.new_list, "torch_new_list_reserve_size");
  bind(table.list_push_back, "torch_list_push_back");
  bind(table.list_size, "torch_list_size");
  bind(table.list_get, "torch_list_get_item");
  bind(table.delete_list, "torch_delete_list");
  bind(table.new_stable_value, "torch_new_stable_ivalue");
  bind(table.is_defined, "aoti_torch_is_defined");
  bind(table.get_data_ptr, "aoti_torch_get_data_ptr");
  bind(table.get_dtype, "aoti_torch_get_dtype");
  bind(table.get_device_type, "aoti_torch_get_device_type");
  bind(table.get_layout, "aoti_torch_get_layout");
  bind(table.get_dim, "aoti_torch_get_dim");
  bind(table.get_sizes, "aoti_torch_get_sizes");
  bind(table.get_strides, "aoti_torch_get_strides");
  bind(table.get_storage_offset, "aoti_torch_get_storage_offset");
  bind(table.get_storage_size, "aoti_torch_get_storage_size");
  bind(table.tensor_from_blob, "aoti_torch_create_tensor_from_blob");
  bind(table.empty_strided, "aoti_torch_empty_strided");
  bind(table.element_size, "aoti_torch_dtype_element_size");
  bind(table.set_grad_mode, "aoti_torch_grad_mode_set_enabled");
  bind(table.num_threads, "torch_get_num_threads");
  bind(table.parallel_for, "torch_parallel_for");
  table.cpu = torch_enumerator("aoti_torch_device_type_cpu");
  table.float32 = torch_enumerator("aoti_torch_dtype_float32");
  table.strided = torch_enumerator("aoti_torch_layout_strided");
  bind(table.last_error, "torch_exception_get_what_without_backtrace");
  bind(table.abi_version, "aoti_torch_abi_version");
  return table;
}

} // namespace

const CShim& cshim() {
  static const CShim table = bind_all();
  return table;
}

std::int32_t torch_enumerator(const std::string& getter) {
  void* address = dlsym(libtorch(), getter.c_str());
  if (address == nullptr)
    throw std::invalid_argument("the loaded torch does not export " + getter);
  return reinterpret_cast<std::int32_t (*)()>(address)();
}

namespace {

std::vector<std::uint16_t>& worker_excluded_keys() {
  static std::vector<std::uint16_t> keys;
  return keys;
}

} // namespace

void set_worker_excluded_keys(const std::vector<std::uint16_t>& keys) {
  worker_excluded_keys() = keys;
}

// Thread-local states of torch start anew in every thread: grad mode is on, and the number of
// threads is unknown to the libraries below until ATen has asked for it. No C function excludes
// dispatch keys; without this symbol workers only take the longer way through autograd's kernels.
void prepare_worker_thread() {
  static thread_local bool prepared = false;
  if (prepared)
    return;
  prepared = true;
  cshim().set_grad_mode(false);
  std::uint32_t n_threads = 0;
  check(cshim().num_threads(&n_threads));
  static const auto exclude = reinterpret_cast<void (*)(std::uint16_t, bool)>(
      dlsym(libtorch(), "_ZN3c104impl29tls_set_dispatch_key_excludedENS_11DispatchKeyEb"));
  if (exclude != nullptr)
    for (const std::uint16_t key : worker_excluded_keys())
      exclude(key, true);
}

void check(ErrorCode code) {
  if (code == 0)
    return;
  const char* text = cshim().last_error(); // borrowed and thread-local: copied at once
  throw std::runtime_error(text != nullptr ? text : "torch reported an error without text");
}

} // namespace torchair::program
