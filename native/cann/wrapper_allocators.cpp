#include "cann/wrapper_allocators.h"

#include <array>
#include <mutex>
#include <utility>

namespace torchair::cann {
namespace {

struct Place {
  std::shared_ptr<Allocator> allocator;
};

std::mutex mutex;
std::array<Place, kMostWrapperAllocators> places;

std::shared_ptr<Allocator> allocator_at(std::size_t index) {
  const std::lock_guard lock(mutex);
  return places[index].allocator;
}

template <std::size_t Index> void* allocate(void* /*object*/, std::size_t bytes) {
  const std::shared_ptr<Allocator> allocator = allocator_at(Index);
  if (allocator == nullptr)
    return nullptr;
  try {
    return new Block(allocator, bytes);
  } catch (const std::exception& error) {
    note_allocation_failure(error);
    return nullptr;
  }
}

void free(void* /*object*/, void* block) { delete static_cast<Block*>(block); }

void* address(void* block) { return static_cast<Block*>(block)->address(); }

void destroyed(void* place) {
  std::shared_ptr<Allocator> last; // destroyed without the lock
  const std::lock_guard lock(mutex);
  last = std::exchange(static_cast<Place*>(place)->allocator, nullptr);
}

using Allocate = void* (*)(void*, std::size_t);

template <std::size_t... Index>
constexpr std::array<Allocate, sizeof...(Index)> functions(std::index_sequence<Index...>) {
  return {&allocate<Index>...};
}
constexpr auto kFunctions = functions(std::make_index_sequence<kMostWrapperAllocators>());

} // namespace

WrapperAllocator take_wrapper_allocator(std::shared_ptr<Allocator> allocator) {
  const std::lock_guard lock(mutex);
  for (std::size_t i = 0; i < places.size(); ++i) {
    if (places[i].allocator != nullptr)
      continue;
    places[i].allocator = std::move(allocator);
    return {kFunctions[i], &free, &address, &destroyed, &places[i]};
  }
  throw runtime::Error(runtime::Code::kResourceAllocFail,
                       "more than " + std::to_string(kMostWrapperAllocators) +
                           " streams run GE graphs");
}

void return_wrapper_allocator(void* place, const Allocator* allocator) {
  std::shared_ptr<Allocator> last; // destroyed without the lock
  const std::lock_guard lock(mutex);
  std::shared_ptr<Allocator>& held = static_cast<Place*>(place)->allocator;
  if (held.get() == allocator)
    last = std::exchange(held, nullptr);
}

} // namespace torchair::cann
