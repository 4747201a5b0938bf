// Memory that captured graphs share.
#pragma once

#include <map>
#include <mutex>
#include <unordered_map>

#include "runtime/runtime.h"

namespace torchair::host {

// Best fit among whole blocks that were freed; a block is never split, and none goes back to the
// system before the pool does.
class Pool final : public runtime::MemoryPool {
public:
  Pool() = default;
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;
  ~Pool() override;

  void* allocate(std::size_t bytes) override;
  void free(void* address) override;
  std::size_t bytes_in_use() const override;
  std::size_t bytes_reserved() const override;
  std::size_t bytes_peak() const override;

private:
  mutable std::mutex mutex_;
  std::unordered_map<void*, std::size_t> used_;
  std::multimap<std::size_t, void*> unused_;
  std::size_t in_use_ = 0;
  std::size_t reserved_ = 0;
  std::size_t peak_ = 0;
};

} // namespace torchair::host
