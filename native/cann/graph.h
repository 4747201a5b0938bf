// A captured graph of ACL, its replays and its task groups.
#pragma once

#include "cann/recording.h"

namespace torchair::cann {

// The place of a group's tasks in the recording, which keeps them alive.
class CapturedTaskGroup final : public runtime::TaskGroup {
public:
  CapturedTaskGroup(Handle handle, std::weak_ptr<Recording> recording, std::size_t begin,
                    std::size_t end)
      : handle_(handle), recording_(std::move(recording)), begin_(begin), end_(end) {}
  Handle handle() const noexcept { return handle_; }
  // Null when the graph is gone, and with it the group.
  std::shared_ptr<Recording> recording() const { return recording_.lock(); }
  std::size_t begin() const noexcept { return begin_; }
  std::size_t size() const noexcept { return end_ - begin_; }

private:
  Handle handle_; // aclrtTaskGrp, owned by the model
  std::weak_ptr<Recording> recording_;
  std::size_t begin_, end_;
};

class CapturedGraph final : public runtime::Graph {
public:
  CapturedGraph(std::shared_ptr<const Acl> acl, Handle model, std::shared_ptr<Recording> recording);
  ~CapturedGraph() override;
  std::uint64_t id() const override { return id_; }
  std::size_t task_count() const override;
  void replay(runtime::Stream& stream) override;
  void destroy() override;
  void write_json(const std::string& path) override;

private:
  void check_alive() const;
  bool is_running() const;
  std::vector<const OwnedEvent*> marks() const;

  std::shared_ptr<const Acl> acl_;
  Handle model_; // null after destroy()
  std::uint64_t id_;
  std::shared_ptr<Recording> recording_;
  mutable std::mutex mutex_;
  // An event behind the latest replay on each stream; ACL does not say whether a model runs.
  std::map<Handle, std::unique_ptr<OwnedEvent>> replays_;
};

} // namespace torchair::cann
