// C functions through which GE's wrapper takes memory from an Allocator.
//
// The wrapper passes its allocation function nothing but a size, so each allocator that is
// registered needs a function of its own. There is a fixed number of them.
#pragma once

#include <memory>

#include "cann/allocator.h"

namespace torchair::cann {

inline constexpr int kMostWrapperAllocators = 64;

struct WrapperAllocator {
  void* (*allocate)(void*, std::size_t);
  void (*free)(void*, void*);
  void* (*address)(void*);
  void (*destroyed)(void*); // GE has let go of the allocator; called with `place`
  void* place;
};

// Takes a place. Throws runtime::Error with kResourceAllocFail when all are taken.
WrapperAllocator take_wrapper_allocator(std::shared_ptr<Allocator> allocator);

// For a registration that failed; does nothing when GE has let go of `allocator` already.
void return_wrapper_allocator(void* place, const Allocator* allocator);

} // namespace torchair::cann
