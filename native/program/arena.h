// Memory in which the runs of several programs take turns.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

namespace torchair::program {

// 64-byte aligned memory.
class Block {
public:
  // Throws std::bad_alloc.
  explicit Block(std::size_t bytes);
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;
  ~Block();
  void* memory() const { return memory_; }
  std::size_t bytes() const { return bytes_; }

private:
  std::size_t bytes_;
  void* memory_;
};

// As many blocks as runs at one time, each as large as the largest run that it was taken for. A run
// has its block for itself; nothing in it outlives the run.
class Arena {
public:
  // A block of at least `bytes`. One that is too small is exchanged for it, which ends its life.
  std::shared_ptr<const Block> take(std::size_t bytes);
  void give_back(std::shared_ptr<const Block> block) noexcept;
  // Of all blocks, taken or not.
  std::size_t bytes_reserved() const;

private:
  mutable std::mutex mutex_;
  std::vector<std::shared_ptr<const Block>> idle_;
  std::size_t n_blocks_ = 0;
  std::size_t bytes_reserved_ = 0;
};

} // namespace torchair::program
