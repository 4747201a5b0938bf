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

Pool::~Pool() { blocks_.release_all(std::free); }

void* Pool::allocate(std::size_t bytes) {
  const std::size_t rounded = round_up(bytes);
  const std::lock_guard lock(mutex_);
  if (void* const kept = blocks_.take(rounded))
    return kept;
  void* const address = std::aligned_alloc(kAlignment, rounded);
  if (address == nullptr)
    throw runtime::Error(runtime::Code::kMemoryAllocation,
                         "a pool cannot grow by " + std::to_string(rounded) + " bytes",
                         "It holds " + std::to_string(blocks_.reserved()) + " bytes");
  blocks_.add(address, rounded);
  return address;
}

void Pool::free(void* address) {
  const std::lock_guard lock(mutex_);
  if (!blocks_.give_back(address))
    throw runtime::Error(runtime::Code::kParamInvalid, "a pool cannot free an address",
                         "The pool has not allocated it, or it was freed before");
}

std::size_t Pool::bytes_in_use() const {
  const std::lock_guard lock(mutex_);
  return blocks_.in_use();
}

std::size_t Pool::bytes_reserved() const {
  const std::lock_guard lock(mutex_);
  return blocks_.reserved();
}

std::size_t Pool::bytes_peak() const {
  const std::lock_guard lock(mutex_);
  return blocks_.peak();
}

} // namespace torchair::host
