// A capture in the making: what is launched on its streams becomes nodes of a graph.
//
// Every capture of a device is guarded by the mutex of its DeviceState.
#pragma once

#include <memory>
#include <thread>
#include <vector>

#include "host/event.h"
#include "runtime/runtime.h"

namespace torchair::host {

class Stream;
class TaskGroup;

struct Node {
  enum class Kind { kTask, kRecord, kWait, kExternalRecord, kExternalWait, kExternalReset };
  Kind kind;
  std::size_t lane;                         // which stream of the capture, 0 is where it began
  std::shared_ptr<runtime::Task> task = {}; // kTask
  std::size_t record = 0;                   // kWait: the node that is waited for
  std::shared_ptr<Event> event = {};        // all others: kept alive by the graph
};

// Tasks first ... last - 1, in the order of the capture, are all on one lane.
struct GroupRange {
  std::size_t first;
  std::size_t last;
};

class Capture {
public:
  Capture(std::uint64_t id, runtime::CaptureMode mode, const Stream* origin,
          std::shared_ptr<runtime::MemoryPool> pool);

  std::uint64_t id() const { return id_; }
  runtime::CaptureMode mode() const { return mode_; }
  std::thread::id owner() const { return owner_; }
  const Stream* origin() const { return origin_; }
  const std::shared_ptr<runtime::MemoryPool>& pool() const { return pool_; }
  bool is_open() const { return open_; }
  void close() { open_ = false; }
  // The reason why there will be no graph; empty while there is none.
  const std::string& broken() const { return broken_; }
  void invalidate(const std::string& reason);

  std::size_t lane_of(const Stream* stream) const;
  std::size_t join(const Stream* stream); // adds a lane
  // Appends a node and returns its number. Throws kTaskGroupInterrupted.
  std::size_t add(Node node);

  void begin_group(std::size_t lane);
  GroupRange end_group(std::size_t lane);
  bool has_open_group() const { return group_open_; }
  void keep(std::shared_ptr<TaskGroup> group) { groups_.push_back(std::move(group)); }
  const std::vector<std::shared_ptr<TaskGroup>>& groups() const { return groups_; }

  // Lanes whose last node does not lead to lane 0.
  std::vector<std::size_t> unjoined() const;

  const std::vector<Node>& nodes() const { return nodes_; }
  std::vector<Node> take_nodes() { return std::move(nodes_); }
  std::size_t n_lanes() const { return lanes_.size(); }
  const Stream* stream_of(std::size_t lane) const { return lanes_[lane]; }

private:
  std::uint64_t id_;
  runtime::CaptureMode mode_;
  std::thread::id owner_ = std::this_thread::get_id();
  const Stream* origin_;
  std::shared_ptr<runtime::MemoryPool> pool_;
  bool open_ = true;
  std::string broken_;
  std::vector<const Stream*> lanes_; // only compared, never followed
  std::vector<Node> nodes_;
  bool group_open_ = false;
  std::size_t group_lane_ = 0;
  std::size_t group_first_ = 0;
  std::vector<std::shared_ptr<TaskGroup>> groups_;
};

} // namespace torchair::host
