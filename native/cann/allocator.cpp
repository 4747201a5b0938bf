#include "cann/allocator.h"

#include <algorithm>
#include <utility>

namespace torchair::cann {
namespace {

constexpr std::size_t kGranularity = 512;
// A kept block is not used for less than this part of it.
constexpr std::size_t kLargestWaste = 4;

thread_local std::string allocation_failure;

std::size_t rounded(std::size_t bytes) {
  return (std::max<std::size_t>(bytes, 1) + kGranularity - 1) / kGranularity * kGranularity;
}

class OwnedBlock final : public ge::MemBlock {
public:
  OwnedBlock(ge::Allocator& allocator, Block block, std::shared_ptr<ge::Allocator> owner)
      : ge::MemBlock(allocator, block.address(), block.bytes()), owner_(std::move(owner)),
        block_(std::move(block)) {}

private:
  std::shared_ptr<ge::Allocator> owner_;
  Block block_;
};

// GE has no exceptions: a failure is a null block.
class AllocatorForGe final : public ge::Allocator,
                             public std::enable_shared_from_this<AllocatorForGe> {
public:
  explicit AllocatorForGe(std::shared_ptr<cann::Allocator> allocator)
      : allocator_(std::move(allocator)) {}

  ge::MemBlock* Malloc(std::size_t size) override {
    try {
      return new OwnedBlock(*this, Block(allocator_, size), shared_from_this());
    } catch (const std::exception& error) {
      note_allocation_failure(error);
      return nullptr;
    }
  }

  void Free(ge::MemBlock* block) override { delete block; }

private:
  std::shared_ptr<cann::Allocator> allocator_;
};

} // namespace

CachingAllocator::~CachingAllocator() {
  blocks_.release_all([this](void* address) { acl_->free(address); });
}

void* CachingAllocator::allocate(std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  const std::size_t wanted = rounded(bytes);
  if (void* const kept = blocks_.take(wanted, wanted * kLargestWaste))
    return kept;
  acl_->enter_thread();
  void* address = nullptr;
  try {
    address = acl_->allocate(wanted);
  } catch (const runtime::Error&) {
    if (!blocks_.has_unused())
      throw;
    acl_->check(acl_->call().aclrtSynchronizeDevice(), "aclrtSynchronizeDevice");
    release_unused();
    address = acl_->allocate(wanted);
  }
  blocks_.add(address, wanted);
  return address;
}

void CachingAllocator::free(void* address) noexcept {
  const std::lock_guard lock(mutex_);
  blocks_.give_back(address);
}

void CachingAllocator::release_unused() noexcept {
  blocks_.release_unused([this](void* address) { acl_->free(address); });
}

std::size_t CachingAllocator::bytes_reserved() const {
  const std::lock_guard lock(mutex_);
  return blocks_.reserved();
}

void CachingAllocator::trim() noexcept {
  const std::lock_guard lock(mutex_);
  release_unused();
}

bool CachingAllocator::owns(const void* address) const {
  const std::lock_guard lock(mutex_);
  return blocks_.is_given_out(address);
}

std::size_t CachingAllocator::bytes_in_use() const {
  const std::lock_guard lock(mutex_);
  return blocks_.in_use();
}

std::size_t CachingAllocator::bytes_peak() const {
  const std::lock_guard lock(mutex_);
  return blocks_.peak();
}

void note_allocation_failure(const std::exception& error) { allocation_failure = error.what(); }

std::string take_allocation_failure() { return std::exchange(allocation_failure, {}); }

std::shared_ptr<ge::Allocator> ge_allocator(std::shared_ptr<Allocator> allocator) {
  return std::make_shared<AllocatorForGe>(std::move(allocator));
}

} // namespace torchair::cann
