#include "host/pool.h"

#include <algorithm>
#include <cstdlib>

namespace torchair::host {
namespace {

constexpr std::size_t kAlignment = 64;

std::size_t round_up(std::size_t bytes) {
  return (std::max<std::size_t>(bytes, 1) + kAlignment - 1) / kAlignment * kAlignment;
}

} // namespace

Pool::~Pool() {
  for (const auto& [address, bytes] : used_)
    std::free(address);
  for (const auto& [bytes, address] : unused_)
    std::free(address);
}

void* Pool::allocate(std::size_t bytes) {
  const std::size_t rounded = round_up(bytes);
  const std::lock_guard lock(mutex_);
  void* address = nullptr;
  std::size_t size = rounded;
  if (const auto found = unused_.lower_bound(rounded); found != unused_.end()) {
    size = found->first;
    address = found->second;
    unused_.erase(found);
  } else {
    address = std::aligned_alloc(kAlignment, rounded);
    if (address == nullptr)
      throw runtime::Error(runtime::Code::kMemoryAllocation,
                           "a pool cannot grow by " + std::to_string(rounded) + " bytes",
                           "It holds " + std::to_string(reserved_) + " bytes");
    reserved_ += rounded;
  }
  used_.emplace(address, size);
  in_use_ += size;
  peak_ = std::max(peak_, in_use_);
  return address;
}

void Pool::free(void* address) {
  const std::lock_guard lock(mutex_);
  const auto found = used_.find(address);
  if (found == used_.end())
    throw runtime::Error(runtime::Code::kParamInvalid, "a pool cannot free an address",
                         "The pool has not allocated it, or it was freed before");
  in_use_ -= found->second;
  unused_.emplace(found->second, address);
  used_.erase(found);
}

std::size_t Pool::bytes_in_use() const {
  const std::lock_guard lock(mutex_);
  return in_use_;
}

std::size_t Pool::bytes_reserved() const {
  const std::lock_guard lock(mutex_);
  return reserved_;
}

std::size_t Pool::bytes_peak() const {
  const std::lock_guard lock(mutex_);
  return peak_;
}

} // namespace torchair::host
