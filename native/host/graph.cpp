#include "host/graph.h"

#include <fstream>
#include <utility>

#include "host/stream.h"

namespace torchair::host {

using runtime::Code;
using runtime::Error;

Graph::Graph(std::uint64_t id, std::vector<Node> nodes, std::size_t n_lanes,
             std::shared_ptr<runtime::MemoryPool> pool)
    : id_(id), nodes_(std::move(nodes)), lanes_(n_lanes), pool_(std::move(pool)),
      records_(nodes_.size()) {
  for (std::size_t i = 0; i < nodes_.size(); ++i)
    lanes_[nodes_[i].lane].push_back(i);
}

std::size_t Graph::task_count() const {
  const std::lock_guard lock(mutex_);
  std::size_t count = 0;
  for (const Node& node : nodes_)
    count += node.kind == Node::Kind::kTask;
  return count;
}

bool Graph::is_running() const { return !finished_.has_reached(n_replays_); }

void Graph::replay(runtime::Stream& target) {
  auto& stream = dynamic_cast<Stream&>(target);
  if (stream.capture_info().status != runtime::CaptureStatus::kNone)
    throw Error(Code::kStreamCaptured, "a graph cannot be replayed on this stream");
  const std::lock_guard lock(mutex_);
  if (destroyed_)
    throw Error(Code::kInvalidHandle, "a graph cannot be replayed");
  if (std::exchange(generation_, fork_generation()) != fork_generation())
    finished_.reach(n_replays_); // what ran when the process was forked does not run here
  while (workers_.size() + 1 < lanes_.size())
    workers_.push_back(std::make_unique<Worker>());
  const std::uint64_t replay = ++n_replays_;
  for (std::size_t lane = 1; lane < lanes_.size(); ++lane)
    workers_[lane - 1]->submit([this, lane, replay] {
      started_.await(replay);
      run_lane(lane, replay);
    });
  // The graph lives until its origin is done, and that is not before every lane has led back.
  stream.enqueue([self = shared_from_this(), replay] { self->run_origin(replay); });
}

void Graph::run_origin(std::uint64_t replay) {
  finished_.await(replay - 1);
  {
    const std::lock_guard lock(mutex_);
    failure_ = nullptr;
    failed_ = false;
  }
  started_.reach(replay);
  run_lane(0, replay);
  std::exception_ptr failure;
  {
    const std::lock_guard lock(mutex_);
    failure = std::exchange(failure_, nullptr);
  }
  finished_.reach(replay);
  if (failure)
    std::rethrow_exception(failure);
}

void Graph::run_lane(std::size_t lane, std::uint64_t replay) {
  for (std::size_t index : lanes_[lane])
    run_node(index, replay);
}

void Graph::run_node(std::size_t index, std::uint64_t replay) {
  const Node& node = nodes_[index];
  switch (node.kind) {
  case Node::Kind::kTask:
    return run_task(node);
  case Node::Kind::kRecord:
    return records_[index].reach(replay);
  case Node::Kind::kWait:
    records_[node.record].await(replay);
    return;
  case Node::Kind::kExternalRecord:
    return node.event->flag().set();
  case Node::Kind::kExternalWait:
    node.event->flag().await();
    return;
  case Node::Kind::kExternalReset:
    return node.event->flag().clear();
  }
}

void Graph::run_task(const Node& node) {
  if (failed_)
    return;
  std::shared_ptr<runtime::Task> task;
  {
    const std::lock_guard lock(mutex_); // an update may be replacing it
    task = node.task;
  }
  try {
    task->run(nullptr);
  } catch (...) {
    const std::lock_guard lock(mutex_);
    if (!failure_)
      failure_ = std::current_exception();
    failed_ = true;
  }
}

void Graph::destroy() {
  const std::lock_guard lock(mutex_);
  if (is_running())
    throw Error(Code::kModelRunning, "a graph cannot be destroyed",
                "Synchronize the stream that replays it first");
  destroyed_ = true;
  for (Node& node : nodes_) {
    node.task = nullptr;
    node.event = nullptr;
  }
}

bool Graph::waits_before(const GroupRange& range) const {
  const std::size_t lane = nodes_[range.first].lane;
  for (std::size_t i = 0; i < range.first; ++i)
    if (nodes_[i].lane == lane && nodes_[i].kind == Node::Kind::kExternalWait)
      return true;
  return false;
}

void Graph::update(const GroupRange& range, std::vector<std::shared_ptr<runtime::Task>> tasks) {
  const std::lock_guard lock(mutex_);
  if (destroyed_)
    throw Error(Code::kInvalidHandle, "a task group cannot be updated");
  const std::size_t n_tasks = range.last - range.first;
  if (tasks.size() != n_tasks)
    throw Error(Code::kModelUpdateFailed, "a task group cannot be updated",
                "It has " + std::to_string(n_tasks) + " tasks, the update launched " +
                    std::to_string(tasks.size()));
  for (std::size_t i = 0; i < n_tasks; ++i)
    if (tasks[i]->describe() != nodes_[range.first + i].task->describe())
      throw Error(Code::kModelUpdateFailed, "a task group cannot be updated",
                  "Task " + std::to_string(i) + " is " + nodes_[range.first + i].task->describe() +
                      ", the update launched " + tasks[i]->describe());
  if (n_tasks != 0 && is_running() && !waits_before(range))
    throw Error(Code::kModelRunning, "a task group cannot be updated",
                "Nothing holds the running replay before the group: capture a wait for an external "
                "event in front of it, or synchronize first");
  for (std::size_t i = 0; i < n_tasks; ++i)
    nodes_[range.first + i].task = std::move(tasks[i]);
}

namespace {

std::string escape(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '"' || c == '\\')
      escaped += '\\';
    escaped += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  return escaped;
}

std::string name_of(const Node& node) {
  switch (node.kind) {
  case Node::Kind::kTask:
    return node.task ? node.task->describe() : "destroyed";
  case Node::Kind::kRecord:
    return "record";
  case Node::Kind::kWait:
    return "wait for " + std::to_string(node.record);
  case Node::Kind::kExternalRecord:
    return "record external";
  case Node::Kind::kExternalWait:
    return "wait for external";
  case Node::Kind::kExternalReset:
    return "reset external";
  }
  return "?";
}

} // namespace

void Graph::write_json(const std::string& path) {
  const std::lock_guard lock(mutex_);
  std::ofstream file(path);
  file << "{\"traceEvents\": [";
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    // One microsecond per node: the order is captured, durations are not.
    file << (i == 0 ? "\n" : ",\n") << R"({"ph": "X", "pid": 0, "tid": )" << nodes_[i].lane
         << R"(, "ts": )" << i << R"(, "dur": 1, "name": ")" << escape(name_of(nodes_[i])) << "\"}";
  }
  file << "\n]}\n";
  file.close();
  if (!file)
    throw Error(Code::kParamInvalid, "a graph cannot be written to " + path);
}

} // namespace torchair::host
