// An owned reference to a torch tensor, held through the C entry points.
#pragma once

#include <utility>

#include "program/cshim.h"

namespace torchair::program {

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

private:
  TensorHandle handle_;
};

} // namespace torchair::program
