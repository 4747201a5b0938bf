#include "host/capture.h"

#include <algorithm>
#include <utility>

namespace torchair::host {

using runtime::Code;
using runtime::Error;

Capture::Capture(std::uint64_t id, runtime::CaptureMode mode, const Stream* origin,
                 std::shared_ptr<runtime::MemoryPool> pool)
    : id_(id), mode_(mode), origin_(origin), pool_(std::move(pool)), lanes_{origin} {}

void Capture::invalidate(const std::string& reason) {
  if (broken_.empty())
    broken_ = reason;
}

std::size_t Capture::lane_of(const Stream* stream) const {
  return static_cast<std::size_t>(std::find(lanes_.begin(), lanes_.end(), stream) - lanes_.begin());
}

std::size_t Capture::join(const Stream* stream) {
  lanes_.push_back(stream);
  return lanes_.size() - 1;
}

std::size_t Capture::add(Node node) {
  if (group_open_ && (node.lane != group_lane_ || node.kind != Node::Kind::kTask)) {
    invalidate("a task group was interrupted");
    throw Error(Code::kTaskGroupInterrupted, "a task group was interrupted",
                node.lane != group_lane_ ? "Another stream of the capture was used"
                                         : "A group holds tasks only, no events");
  }
  nodes_.push_back(std::move(node));
  return nodes_.size() - 1;
}

void Capture::begin_group(std::size_t lane) {
  if (group_open_)
    throw Error(Code::kTaskGroupStatus, "a task group cannot begin", "Another one is open");
  group_open_ = true;
  group_lane_ = lane;
  group_first_ = nodes_.size();
}

GroupRange Capture::end_group(std::size_t lane) {
  if (!group_open_ || group_lane_ != lane)
    throw Error(Code::kTaskGroupStatus, "a task group cannot end",
                group_open_ ? "It began on another stream" : "None is open");
  group_open_ = false;
  return {group_first_, nodes_.size()};
}

// Walks back from the end of lane 0: along a lane, and from a wait to its record.
std::vector<std::size_t> Capture::unjoined() const {
  constexpr std::size_t kNone = SIZE_MAX;
  std::vector<std::size_t> tails(lanes_.size(), kNone);
  std::vector<std::size_t> previous(nodes_.size(), kNone);
  for (std::size_t i = 0; i < nodes_.size(); ++i)
    previous[i] = std::exchange(tails[nodes_[i].lane], i);
  std::vector<bool> reached(nodes_.size(), false);
  std::vector<std::size_t> pending;
  if (tails[0] != kNone)
    pending.push_back(tails[0]);
  while (!pending.empty()) {
    const std::size_t i = pending.back();
    pending.pop_back();
    if (reached[i])
      continue;
    reached[i] = true;
    if (previous[i] != kNone)
      pending.push_back(previous[i]);
    if (nodes_[i].kind == Node::Kind::kWait)
      pending.push_back(nodes_[i].record);
  }
  std::vector<std::size_t> lanes;
  for (std::size_t lane = 1; lane < lanes_.size(); ++lane)
    if (tails[lane] == kNone || !reached[tails[lane]])
      lanes.push_back(lane);
  return lanes;
}

} // namespace torchair::host
