// Memory that captured graphs share.
#pragma once

#include <mutex>

#include "runtime/blocks.h"
#include "runtime/runtime.h"

namespace torchair::host {

// No block goes back to the system before the pool does.
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
  runtime::Blocks blocks_;
};

} // namespace torchair::host
