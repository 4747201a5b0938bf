// What a captured graph keeps alive, and the ACL objects that end with their last user.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <vector>

#include "cann/acl.h"
#include "runtime/runtime.h"

namespace torchair::cann {

// A stream of ACL. Graphs that were captured on it keep it: a stream must outlive its models. One
// that another library made is left to that library.
class OwnedStream {
public:
  OwnedStream(std::shared_ptr<const Acl> acl, Handle handle, bool is_borrowed = false)
      : acl_(std::move(acl)), handle_(handle), is_borrowed_(is_borrowed) {}
  OwnedStream(const OwnedStream&) = delete;
  OwnedStream& operator=(const OwnedStream&) = delete;
  ~OwnedStream(); // waits
  Handle get() const noexcept { return handle_; }

private:
  std::shared_ptr<const Acl> acl_;
  Handle handle_; // null: the default stream, which nobody destroys
  bool is_borrowed_;
};

// An event of ACL.
class OwnedEvent {
public:
  OwnedEvent(std::shared_ptr<const Acl> acl, runtime::EventKind kind);
  OwnedEvent(const OwnedEvent&) = delete;
  OwnedEvent& operator=(const OwnedEvent&) = delete;
  ~OwnedEvent();
  Handle get() const noexcept { return handle_; }

private:
  std::shared_ptr<const Acl> acl_;
  Handle handle_ = nullptr;
};

// The tasks of a capture and what they use. One thread at a time captures on a stream, but several
// streams may take part.
struct Recording {
  std::mutex mutex;
  std::vector<std::shared_ptr<runtime::Task>> tasks;
  std::set<std::shared_ptr<const OwnedStream>> streams;
  std::set<std::shared_ptr<const OwnedEvent>>
      events; // An event behind the latest update on each stream.
  std::map<Handle, std::unique_ptr<OwnedEvent>> updates;
  std::shared_ptr<runtime::MemoryPool> pool;
  Handle grouping = nullptr; // the stream whose task group is open
  std::size_t group_begin = 0;
};

// Marks the end of what is queued on a stream now. Without a mark nothing would tell later that it
// is over, so when the event cannot be recorded the stream is waited for; throws then.
void record_mark(const Acl& acl, const OwnedEvent& event, Handle stream);

// The captures that are on, by their model.
class Recordings {
public:
  void add(Handle model, std::shared_ptr<Recording> recording) {
    const std::lock_guard lock(mutex_);
    recordings_[model] = std::move(recording);
  }
  // Null when there is none: the capture is another library's.
  std::shared_ptr<Recording> find(Handle model) const {
    const std::lock_guard lock(mutex_);
    const auto found = recordings_.find(model);
    return found == recordings_.end() ? nullptr : found->second;
  }
  std::shared_ptr<Recording> take(Handle model) {
    const std::lock_guard lock(mutex_);
    const auto found = recordings_.find(model);
    if (found == recordings_.end())
      return nullptr;
    std::shared_ptr<Recording> taken = std::move(found->second);
    recordings_.erase(found);
    return taken;
  }

private:
  mutable std::mutex mutex_;
  std::map<Handle, std::shared_ptr<Recording>> recordings_;
};

} // namespace torchair::cann
