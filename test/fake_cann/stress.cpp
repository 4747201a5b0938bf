// The driver against the fake without Python, for the sanitizers: threads that compile, run,
// capture and replay at once, failures of calls, and an orderly end.
//
// Usage: stress <folder of the fake's libraries>. A model is the text "neg <rows or -1>": one
// float32 input of two columns, and its negation.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "cann/device.h"
#include "cann/host_run.h"
#include "core/control.h"

namespace {

using namespace torchair;
using namespace torchair::cann;

constexpr int kThreads = 4, kRuns = 25, kColumns = 2;
constexpr int kDriverError = 507899;

int failures = 0;

void expect(bool condition, const char* what) {
  if (condition)
    return;
  std::fprintf(stderr, "stress: %s\n", what);
  ++failures;
}

void set_shape(FakeTensor& tensor, std::int64_t rows) {
  tensor.type = 0;
  tensor.rank = 2;
  tensor.dims[0] = rows;
  tensor.dims[1] = kColumns;
}

int inspect(const void* model, std::uint64_t bytes, FakeTensor* inputs, std::int32_t* n_inputs,
            FakeTensor* outputs, std::int32_t* n_outputs) {
  const std::string text(static_cast<const char*>(model), bytes);
  if (text.rfind("neg ", 0) != 0)
    return 1;
  *n_inputs = *n_outputs = 1;
  set_shape(inputs[0], std::stoi(text.substr(4)));
  set_shape(outputs[0], std::stoi(text.substr(4)));
  return 0;
}

int execute(const void*, std::uint64_t, const FakeTensor* inputs, std::int32_t, FakeTensor* outputs,
            std::int32_t) {
  set_shape(outputs[0], inputs[0].dims[0]);
  outputs[0].bytes = inputs[0].bytes;
  outputs[0].data = fake_cann_scratch(inputs[0].bytes);
  const auto* source = static_cast<const float*>(inputs[0].data);
  auto* target = static_cast<float*>(outputs[0].data);
  for (std::uint64_t i = 0; i < inputs[0].bytes / sizeof(float); ++i)
    target[i] = -source[i];
  return 0;
}

std::shared_ptr<CompiledGraph> compile(Engine& engine, std::int64_t rows) {
  const std::string text = "neg " + std::to_string(rows);
  return engine.compile(std::as_bytes(std::span(text.data(), text.size())),
                        {{"ge.exec.atomicCleanPolicy", "1"}});
}

void run_once(Engine& engine, CompiledGraph& graph, std::int64_t rows, float value) {
  std::vector<float> data(static_cast<std::size_t>(rows * kColumns), value);
  const std::size_t bytes = data.size() * sizeof(float);
  const TensorView input{data.data(), bytes, 0, {rows, kColumns}, false};
  const TensorView output{nullptr, bytes, 0, {rows, kColumns}, false};
  const bool gives = graph.summary() && graph.summary()->is_static;
  const std::vector<TensorView> outputs(gives ? 1 : 0, output);
  const std::vector<Output> made = run_on_host(engine, graph, {&input, 1}, outputs, {}, [] {});
  std::vector<float> result(data.size());
  copy_to_host(engine, made.at(0), result.data(), bytes);
  expect(result.front() == -value && result.back() == -value, "a wrong result");
}

void compile_and_run(Engine& engine, CompiledGraph& shared, int number) {
  const auto own = compile(engine, 3);
  for (int i = 0; i < kRuns; ++i) {
    run_once(engine, *own, 3, static_cast<float>(number + i));
    run_once(engine, shared, 1 + i % 3, static_cast<float>(i));
  }
}

class CopyTask final : public runtime::Task {
public:
  CopyTask(std::shared_ptr<const Acl> acl, void* target, void* source)
      : acl_(std::move(acl)), target_(target), source_(source) {}
  void run(void* stream) override { acl_->copy_async(target_, source_, sizeof(float), stream); }
  std::string describe() const override { return "copy"; }

private:
  std::shared_ptr<const Acl> acl_;
  void* target_;
  void* source_;
};

void capture_and_replay(NpuDevice& device, const std::shared_ptr<const Acl>& acl) {
  const auto pool = device.create_pool();
  float one = 1, seen = 0;
  void* a = pool->allocate(sizeof(float));
  void* b = pool->allocate(sizeof(float));
  device.copy(a, &one, sizeof(one));
  const auto main = device.create_stream(0), side = device.create_stream(0);
  const auto fork = device.create_event(runtime::EventKind::kPlain);
  const auto back = device.create_event(runtime::EventKind::kPlain);
  main->begin_capture(runtime::CaptureMode::kRelaxed, pool);
  main->record(fork);
  side->wait(fork);
  side->launch(std::make_shared<CopyTask>(acl, b, a));
  side->record(back);
  main->wait(back);
  main->begin_task_group();
  main->launch(std::make_shared<CopyTask>(acl, b, a));
  const auto group = main->end_task_group();
  const auto graph = main->end_capture();
  for (int i = 0; i < kRuns; ++i) {
    main->begin_update(group);
    main->launch(std::make_shared<CopyTask>(acl, b, a));
    main->end_update();
    graph->replay(*main);
  }
  main->synchronize(-1);
  device.copy(&seen, b, sizeof(seen));
  expect(seen == 1, "a wrong value after replays");
}

void fail_once(const EngineOptions& options, const char* function) {
  fake_cann_reset();
  fake_cann_set_model(inspect, execute);
  fake_cann_inject(function, 1, kDriverError);
  bool failed = false;
  try {
    const auto engine = Engine::open(options);
    engine->show_prints();
    run_once(*engine, *compile(*engine, 3), 3, 1);
    run_once(*engine, *compile(*engine, -1), 3, 1);
    engine->close();
  } catch (const std::exception&) {
    failed = true;
  }
  expect(failed, function);
  expect(std::string(fake_cann_breaches()).empty(), fake_cann_breaches());
  expect(std::string(fake_cann_leaks()).empty(), fake_cann_leaks());
}

void work(const EngineOptions& options) {
  fake_cann_reset();
  fake_cann_set_model(inspect, execute);
  const auto engine = Engine::open(options);
  const auto device = std::make_shared<NpuDevice>(AclUse(Library::open(options.folders), 0, true));
  const auto shared = compile(*engine, -1);
  engine->show_prints();
  fake_cann_print("stress: the device prints\n");
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] { compile_and_run(*engine, *shared, i); });
    threads.emplace_back([&] { capture_and_replay(*device, engine->acl()); });
  }
  for (std::thread& thread : threads)
    thread.join();
  std::thread closing([&] { engine->close(); });
  engine->close();
  closing.join();
  device->close();
  expect(std::string(fake_cann_breaches()).empty(), fake_cann_breaches());
  expect(std::string(fake_cann_leaks()).empty(), fake_cann_leaks());
}

} // namespace

int main(int count, char** arguments) {
  if (count != 2) {
    std::fprintf(stderr, "usage: stress <folder>\n");
    return 2;
  }
  for (const Route route : {Route::kWrapper, Route::kSession}) {
    EngineOptions options;
    options.folders = {arguments[1]};
    options.route = route;
    options.process = {{"ge.exec.deviceId", "0"}};
    options.session = {{"ge.session_device_id", "0"}};
    work(options);
    std::vector<const char*> functions = {"aclInit",
                                          "aclrtSetDevice",
                                          "aclrtCreateStreamWithConfig",
                                          "aclrtMalloc",
                                          "aclrtMemcpy",
                                          "GEInitialize",
                                          "Session.Session",
                                          "Session.AddGraph",
                                          "Graph.LoadFromSerializedModelArray",
                                          "Session.RegisterExternalAllocator",
                                          "Session.RunGraphWithStreamAsync",
                                          "aclrtSynchronizeStreamWithTimeout",
                                          "acltdtCreateChannelWithCapacity"};
    if (route == Route::kSession)
      for (const char* function :
           {"Session.CompileGraph", "GeSessionLoadGraph", "GeSessionExecuteGraphWithStreamAsync"})
        functions.push_back(function);
    for (const char* function : functions)
      fail_once(options, function);
  }
  std::printf("stress: %d failures\n", failures);
  return failures == 0 ? 0 : 1;
}
