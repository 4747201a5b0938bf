// Which blocks of memory are given out, and which came back. What a block is, the owner knows.
#pragma once

#include <algorithm>
#include <cstddef>
#include <limits>
#include <map>
#include <unordered_map>

namespace torchair::runtime {

// Best fit among whole blocks: a block is never split. Not thread safe.
class Blocks {
public:
  // Gives out the smallest block that came back and has `bytes` to `most`; null when there is none.
  void* take(std::size_t bytes, std::size_t most = std::numeric_limits<std::size_t>::max()) {
    const auto found = unused_.lower_bound(bytes);
    if (found == unused_.end() || found->first > most)
      return nullptr;
    void* const address = found->second;
    give_out(address, found->first);
    unused_.erase(found);
    return address;
  }
  // A new block, given out.
  void add(void* address, std::size_t bytes) {
    reserved_ += bytes;
    give_out(address, bytes);
  }
  // False for an address that is not given out.
  bool give_back(void* address) {
    const auto found = used_.find(address);
    if (found == used_.end())
      return false;
    in_use_ -= found->second;
    unused_.emplace(found->second, address);
    used_.erase(found);
    return true;
  }
  bool is_given_out(const void* address) const {
    return used_.contains(const_cast<void*>(address));
  }
  bool has_unused() const { return !unused_.empty(); }
  std::size_t in_use() const { return in_use_; }
  std::size_t reserved() const { return reserved_; }
  std::size_t peak() const { return peak_; }

  // Calls free(address) for what came back, and forgets it.
  template <typename Free> void release_unused(const Free& free) {
    for (const auto& [bytes, address] : unused_) {
      free(address);
      reserved_ -= bytes;
    }
    unused_.clear();
  }
  template <typename Free> void release_all(const Free& free) {
    for (const auto& [address, bytes] : used_)
      free(address);
    used_.clear();
    release_unused(free);
  }

private:
  void give_out(void* address, std::size_t bytes) {
    used_.emplace(address, bytes);
    in_use_ += bytes;
    peak_ = std::max(peak_, in_use_);
  }

  std::unordered_map<void*, std::size_t> used_;
  std::multimap<std::size_t, void*> unused_;
  std::size_t in_use_ = 0;
  std::size_t reserved_ = 0;
  std::size_t peak_ = 0;
};

} // namespace torchair::runtime
