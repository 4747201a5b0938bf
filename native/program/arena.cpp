#include "program/arena.h"

#include <algorithm>
#include <cstdlib>
#include <new>

namespace torchair::program {
namespace {

constexpr std::size_t kAlignment = 64;

std::size_t round_up(std::size_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

} // namespace

Block::Block(std::size_t bytes)
    : bytes_(round_up(bytes)), memory_(std::aligned_alloc(kAlignment, bytes_)) {
  if (memory_ == nullptr)
    throw std::bad_alloc();
}

Block::~Block() { std::free(memory_); }

std::shared_ptr<const Block> Arena::take(std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  const auto large =
      std::ranges::find_if(idle_, [bytes](const auto& block) { return block->bytes() >= bytes; });
  if (large != idle_.end()) {
    auto block = std::move(*large);
    idle_.erase(large);
    return block;
  }
  if (!idle_.empty()) {
    bytes_reserved_ -= idle_.back()->bytes();
    idle_.pop_back();
    --n_blocks_;
  }
  idle_.reserve(n_blocks_ + 1); // so that give_back() needs no memory
  auto block = std::make_shared<const Block>(bytes);
  ++n_blocks_;
  bytes_reserved_ += block->bytes();
  return block;
}

void Arena::give_back(std::shared_ptr<const Block> block) noexcept {
  const std::lock_guard lock(mutex_);
  idle_.push_back(std::move(block));
}

std::size_t Arena::bytes_reserved() const {
  const std::lock_guard lock(mutex_);
  return bytes_reserved_;
}

} // namespace torchair::program
