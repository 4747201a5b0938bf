// An owned reference to a torch tensor, held through the C entry points.
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "program/cshim.h"

namespace torchair::program {

// Dtype (as torch numbers them), sizes and strides, in elements, of a tensor of the CPU.
struct Layout {
  std::int32_t dtype = 0;
  std::vector<std::int64_t> sizes = {};
  std::vector<std::int64_t> strides = {};
};

// Whether a tensor is of the CPU, has strides, and has this layout.
inline bool has_layout(TensorHandle tensor, const Layout& layout) {
  const CShim& torch = cshim();
  std::int32_t dtype = 0;
  std::int32_t device = 0;
  std::int32_t kind = 0;
  std::int64_t n_dims = 0;
  std::int64_t* sizes = nullptr;
  std::int64_t* strides = nullptr;
  check(torch.get_dtype(tensor, &dtype));
  check(torch.get_device_type(tensor, &device));
  check(torch.get_layout(tensor, &kind));
  check(torch.get_dim(tensor, &n_dims));
  if (dtype != layout.dtype || device != torch.cpu || kind != torch.strided ||
      static_cast<std::size_t>(n_dims) != layout.sizes.size())
    return false;
  check(torch.get_sizes(tensor, &sizes));
  check(torch.get_strides(tensor, &strides));
  return std::equal(layout.sizes.begin(), layout.sizes.end(), sizes) &&
         std::equal(layout.strides.begin(), layout.strides.end(), strides);
}

class Tensor {
public:
  // Takes over a handle that the caller owns.
  explicit Tensor(TensorHandle owned) noexcept : handle_(owned) {}

  // A fresh handle that holds no tensor, to be assigned into.
  static Tensor undefined() {
    TensorHandle handle = nullptr;
    check(cshim().new_undefined_tensor(&handle));
    return Tensor(handle);
  }

  Tensor(Tensor&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Tensor& operator=(Tensor&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  Tensor(const Tensor&) = delete;
  Tensor& operator=(const Tensor&) = delete;
  ~Tensor() {
    if (handle_ != nullptr)
      cshim().delete_tensor(handle_);
  }

  TensorHandle get() const noexcept { return handle_; }
  TensorHandle release() noexcept { return std::exchange(handle_, nullptr); }

  // Another reference to the same tensor.
  static Tensor share(TensorHandle borrowed) {
    TensorHandle handle = nullptr;
    check(cshim().new_tensor_handle(borrowed, &handle));
    return Tensor(handle);
  }

  // A tensor over memory that somebody else owns.
  static Tensor over(void* data, const Layout& layout) {
    const CShim& torch = cshim();
    TensorHandle handle = nullptr;
    check(torch.tensor_from_blob(data, static_cast<std::int64_t>(layout.sizes.size()),
                                 layout.sizes.data(), layout.strides.data(), 0, layout.dtype,
                                 torch.cpu, 0, &handle));
    return Tensor(handle);
  }

  // A new tensor of the CPU, not filled.
  static Tensor empty(const Layout& layout) {
    const CShim& torch = cshim();
    TensorHandle handle = nullptr;
    check(torch.empty_strided(static_cast<std::int64_t>(layout.sizes.size()), layout.sizes.data(),
                              layout.strides.data(), layout.dtype, torch.cpu, 0, &handle));
    return Tensor(handle);
  }

private:
  TensorHandle handle_;
};

} // namespace torchair::program
