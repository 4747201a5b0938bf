// Where device memory comes from: ACL itself, or the framework's caching allocator.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>

#include "cann/acl.h"
#include "runtime/blocks.h"

namespace torchair::cann {

// Memory of one stream. What is freed may still be used by work that was queued on that stream
// before: an allocator gives it out again for later work of the same stream only.
class Allocator {
public:
  virtual ~Allocator() = default;
  // 512-byte aligned, as aclrtMalloc. Throws runtime::Error with kMemoryAllocation.
  virtual void* allocate(std::size_t bytes) = 0;
  virtual void free(void* address) noexcept = 0;
  virtual std::size_t bytes_reserved() const { return 0; }
};

// Blocks of aclrtMalloc that are kept for reuse, the smallest that fits first. Thread safe.
class CachingAllocator final : public Allocator {
public:
  explicit CachingAllocator(std::shared_ptr<const Acl> acl) : acl_(std::move(acl)) {}
  CachingAllocator(const CachingAllocator&) = delete;
  CachingAllocator& operator=(const CachingAllocator&) = delete;
  ~CachingAllocator() override; // the stream must be idle

  void* allocate(std::size_t bytes) override;
  void free(void* address) noexcept override;
  std::size_t bytes_reserved() const override;
  std::size_t bytes_in_use() const;
  bool owns(const void* address) const; // given out and not freed
  // Gives back what is not in use; the stream must be idle.
  void trim() noexcept;
  std::size_t bytes_peak() const;

private:
  void release_unused() noexcept;

  std::shared_ptr<const Acl> acl_;
  mutable std::mutex mutex_;
  runtime::Blocks blocks_;
};

// Memory that goes back to its allocator at the end of its scope.
class Block {
public:
  Block() = default;
  Block(std::shared_ptr<Allocator> allocator, std::size_t bytes)
      : allocator_(std::move(allocator)), address_(allocator_->allocate(bytes)), bytes_(bytes) {}
  Block(Block&& other) noexcept { swap(other); }
  Block& operator=(Block&& other) noexcept {
    Block taken(std::move(other));
    swap(taken);
    return *this;
  }
  ~Block() {
    if (address_ != nullptr)
      allocator_->free(address_);
  }
  void* address() const noexcept { return address_; }
  std::size_t bytes() const noexcept { return bytes_; }

private:
  void swap(Block& other) noexcept {
    std::swap(allocator_, other.allocator_);
    std::swap(address_, other.address_);
    std::swap(bytes_, other.bytes_);
  }
  std::shared_ptr<Allocator> allocator_;
  void* address_ = nullptr;
  std::size_t bytes_ = 0;
};

// An Allocator as GE calls one. GE may keep blocks after the allocator was unregistered; they keep
// it alive.
std::shared_ptr<ge::Allocator> ge_allocator(std::shared_ptr<Allocator> allocator);

// GE learns only that an allocation failed. The reason waits here, one for each thread, for whoever
// reports GE's failure.
void note_allocation_failure(const std::exception& error);
std::string take_allocation_failure(); // empty when there was none

} // namespace torchair::cann
