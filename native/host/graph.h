// A captured graph of the host device and its replays.
#pragma once

#include <atomic>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <vector>

#include "host/capture.h"
#include "host/worker.h"

namespace torchair::host {

// Lane 0 runs on the stream that replays; every other lane has a thread of its own. Replays of one
// graph follow each other, whatever streams they were given to.
class Graph final : public runtime::Graph, public std::enable_shared_from_this<Graph> {
public:
  Graph(std::uint64_t id, std::vector<Node> nodes, std::size_t n_lanes,
        std::shared_ptr<runtime::MemoryPool> pool);

  std::uint64_t id() const override { return id_; }
  std::size_t task_count() const override;
  void replay(runtime::Stream& stream) override;
  void destroy() override;
  void write_json(const std::string& path) override;

  // Replaces the tasks of a range, for replays that come to it later.
  void update(const GroupRange& range, std::vector<std::shared_ptr<runtime::Task>> tasks);

private:
  bool is_running() const;
  // Whether replays stop in front of the range until an external event is recorded.
  bool waits_before(const GroupRange& range) const;
  void run_origin(std::uint64_t replay);
  void run_lane(std::size_t lane, std::uint64_t replay);
  void run_node(std::size_t index, std::uint64_t replay);
  void run_task(const Node& node);

  std::uint64_t id_;
  std::vector<Node> nodes_;
  std::vector<std::vector<std::size_t>> lanes_; // the nodes of each lane, in order
  std::shared_ptr<runtime::MemoryPool> pool_;
  std::deque<Signal> records_; // by node: reached with the number of the replay
  std::atomic<bool> destroyed_{false};

  mutable std::mutex mutex_; // guards what follows, and the tasks of nodes
  std::uint64_t n_replays_ = 0;
  std::uint64_t generation_ = fork_generation();
  std::vector<std::unique_ptr<Worker>> workers_; // of lanes 1 ...
  std::exception_ptr failure_;                   // of the running replay
  std::atomic<bool> failed_{false};
  Signal started_;
  Signal finished_;
};

class TaskGroup final : public runtime::TaskGroup {
public:
  TaskGroup(std::uint64_t capture_id, GroupRange range) : capture_id(capture_id), range(range) {}
  std::uint64_t capture_id;
  GroupRange range;
  std::weak_ptr<Graph> graph; // set when the capture ends
  bool updating = false;
};

} // namespace torchair::host
