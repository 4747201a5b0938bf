#include "runtime/bindings.h"
#include "runtime/gil.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>

#include <map>
#include <utility>

namespace nb = nanobind;

namespace torchair::runtime {
namespace {

struct KnownDevice {
  DeviceFactory factory;
  std::shared_ptr<Device> device;
};

// Never destroyed: streams may outlive static objects.
std::map<std::string, KnownDevice>& devices() {
  static auto* const known = new std::map<std::string, KnownDevice>;
  return *known;
}

std::shared_ptr<Device> find_device(const std::string& name) {
  const auto found = devices().find(name);
  if (found == devices().end())
    throw std::invalid_argument("there is no device " + name);
  KnownDevice& known = found->second;
  if (!known.device)
    known.device = known.factory();
  return known.device;
}

// function(native stream: int). For callbacks between operators, and for tests.
class PythonTask final : public Task {
public:
  PythonTask(nb::object function, std::string name)
      : function_(std::move(function)), name_(std::move(name)) {}
  ~PythonTask() override {
    const nb::gil_scoped_acquire gil;
    function_.reset();
  }
  void run(void* native_stream) override {
    const nb::gil_scoped_acquire gil;
    try {
      function_(reinterpret_cast<std::uintptr_t>(native_stream));
    } catch (const nb::python_error& error) {
      throw std::runtime_error(name_ + ": " + runtime::describe(error));
    }
  }
  std::string describe() const override { return name_; }

private:
  nb::object function_;
  std::string name_;
};

CaptureMode parse_mode(const std::string& mode) {
  if (mode == "global")
    return CaptureMode::kGlobal;
  if (mode == "thread_local")
    return CaptureMode::kThreadLocal;
  if (mode == "relaxed")
    return CaptureMode::kRelaxed;
  throw std::invalid_argument("a capture mode is global, thread_local or relaxed, not " + mode);
}

std::string print_mode(CaptureMode mode) {
  switch (mode) {
  case CaptureMode::kGlobal:
    return "global";
  case CaptureMode::kThreadLocal:
    return "thread_local";
  case CaptureMode::kRelaxed:
    return "relaxed";
  }
  return "unknown";
}

std::string print_status(CaptureStatus status) {
  switch (status) {
  case CaptureStatus::kNone:
    return "none";
  case CaptureStatus::kActive:
    return "active";
  case CaptureStatus::kInvalidated:
    return "invalidated";
  }
  return "unknown";
}

// Calls wait(timeout in ms) without the GIL. An endless wait comes back now and then to let Python
// handle signals, so Ctrl-C works.
template <typename Wait> void wait_interruptibly(std::int32_t timeout_ms, Wait wait) {
  constexpr std::int32_t kSlice = 100;
  if (timeout_ms >= 0) {
    const runtime::ReleasedGil no_gil;
    return wait(timeout_ms);
  }
  while (true) {
    try {
      const runtime::ReleasedGil no_gil;
      return wait(kSlice);
    } catch (const Error& error) {
      if (error.code() != Code::kWaitTimeout)
        throw;
    }
    if (PyErr_CheckSignals() != 0)
      throw nb::python_error();
  }
}

// DeviceError(code: int, name: str, text: str)
void bind_error(nb::module_& module) {
  static nb::handle type; // borrowed: the module holds it for the life of the process
  nb::object created = nb::steal(
      PyErr_NewException("torchair._native.runtime.DeviceError", PyExc_RuntimeError, nullptr));
  module.attr("DeviceError") = created;
  type = created;
  nb::register_exception_translator([](const std::exception_ptr& thrown, void*) {
    try {
      std::rethrow_exception(thrown);
    } catch (const Error& error) {
      const nb::tuple arguments = nb::make_tuple(static_cast<std::int32_t>(error.code()),
                                                 facts_of(error.code()).name, error.what());
      PyErr_SetObject(type.ptr(), arguments.ptr());
    }
  });
}

using NoGil = nb::call_guard<runtime::ReleasedGil>;
using StreamHandle = Handle<Stream>;
using EventHandle = Handle<Event>;
using PoolHandle = Handle<MemoryPool>;
using GraphHandle = Handle<Graph>;
using GroupHandle = Handle<TaskGroup>;
using DeviceHandle = Handle<Device>;

void bind_small(nb::module_& module) {
  nb::class_<EventHandle>(module, "Event")
      .def_prop_ro("external", [](EventHandle& e) { return e->kind() == EventKind::kExternal; })
      .def(
          "query", [](EventHandle& e) { return e->query(); }, NoGil())
      .def(
          "synchronize",
          [](EventHandle& e, std::int32_t timeout_ms) {
            wait_interruptibly(timeout_ms, [&](std::int32_t ms) { e->synchronize(ms); });
          },
          nb::arg("timeout_ms") = -1);
  nb::class_<PoolHandle>(module, "MemoryPool")
      .def(
          "allocate",
          [](PoolHandle& p, std::size_t bytes) {
            return reinterpret_cast<std::uintptr_t>(p->allocate(bytes));
          },
          nb::arg("bytes"))
      .def(
          "free",
          [](PoolHandle& p, std::uintptr_t address) { p->free(reinterpret_cast<void*>(address)); },
          nb::arg("address"))
      .def_prop_ro("bytes_in_use", [](PoolHandle& p) { return p->bytes_in_use(); })
      .def_prop_ro("bytes_reserved", [](PoolHandle& p) { return p->bytes_reserved(); })
      .def_prop_ro("bytes_peak", [](PoolHandle& p) { return p->bytes_peak(); });
  nb::class_<GroupHandle>(module, "TaskGroup");
  nb::class_<GraphHandle>(module, "Graph")
      .def_prop_ro("id", [](GraphHandle& g) { return g->id(); })
      .def_prop_ro("task_count", [](GraphHandle& g) { return g->task_count(); })
      .def(
          "replay", [](GraphHandle& g, StreamHandle& s) { g->replay(*s); }, nb::arg("stream"),
          NoGil())
      .def(
          "destroy", [](GraphHandle& g) { g->destroy(); }, NoGil())
      .def(
          "write_json", [](GraphHandle& g, const std::string& path) { g->write_json(path); },
          nb::arg("path"), NoGil());
}

void bind_capture(nb::class_<StreamHandle>& stream) {
  stream
      .def(
          "begin_capture",
          [](StreamHandle& s, const std::string& mode, PoolHandle* pool) {
            s->begin_capture(parse_mode(mode), pool != nullptr ? pool->share() : nullptr);
          },
          nb::arg("mode") = "global", nb::arg("pool") = nb::none(), NoGil())
      .def_prop_ro("capture_info",
                   [](StreamHandle& s) {
                     const CaptureInfo info = s->capture_info();
                     return std::pair(print_status(info.status), info.graph_id);
                   })
      .def(
          "end_capture", [](StreamHandle& s) { return GraphHandle(s->end_capture()); }, NoGil())
      .def(
          "begin_task_group", [](StreamHandle& s) { s->begin_task_group(); }, NoGil())
      .def(
          "end_task_group", [](StreamHandle& s) { return GroupHandle(s->end_task_group()); },
          NoGil())
      .def(
          "begin_update", [](StreamHandle& s, GroupHandle& g) { s->begin_update(g.share()); },
          nb::arg("group"), NoGil())
      .def("end_update", [](StreamHandle& s) { s->end_update(); }, NoGil());
}

void launch_python(StreamHandle& stream, nb::object function, std::string name) {
  auto task = std::make_shared<PythonTask>(std::move(function), std::move(name));
  const runtime::ReleasedGil no_gil;
  stream->launch(std::move(task));
}

void bind_stream(nb::module_& module) {
  nb::class_<StreamHandle> stream(module, "Stream");
  stream.def_prop_ro("id", [](StreamHandle& s) { return s->id(); })
      .def_prop_ro("native",
                   [](StreamHandle& s) { return reinterpret_cast<std::uintptr_t>(s->native()); })
      .def("launch", &launch_python, nb::arg("function"), nb::arg("name") = "python")
      .def(
          "record", [](StreamHandle& s, EventHandle& e) { s->record(e.share()); }, nb::arg("event"),
          NoGil())
      .def(
          "wait", [](StreamHandle& s, EventHandle& e) { s->wait(e.share()); }, nb::arg("event"),
          NoGil())
      .def(
          "reset", [](StreamHandle& s, EventHandle& e) { s->reset(e.share()); }, nb::arg("event"),
          NoGil())
      .def(
          "query", [](StreamHandle& s) { return s->query(); }, NoGil())
      .def(
          "synchronize",
          [](StreamHandle& s, std::int32_t timeout_ms) {
            wait_interruptibly(timeout_ms, [&](std::int32_t ms) { s->synchronize(ms); });
          },
          nb::arg("timeout_ms") = -1);
  bind_capture(stream);
}

void bind_device(nb::module_& module) {
  nb::class_<DeviceHandle>(module, "Device")
      .def(
          "__init__",
          [](DeviceHandle* self, const std::string& name) {
            new (self) DeviceHandle(find_device(name));
          },
          nb::arg("name"))
      .def_prop_ro("name", [](DeviceHandle& d) { return d->name(); })
      .def_prop_ro("default_stream",
                   [](DeviceHandle& d) { return StreamHandle(d->default_stream()); })
      .def(
          "create_stream",
          [](DeviceHandle& d, std::uint32_t priority) {
            return StreamHandle(d->create_stream(priority));
          },
          nb::arg("priority") = 0, NoGil())
      .def(
          "borrow_stream",
          [](DeviceHandle& d, std::uintptr_t native) {
            return StreamHandle(d->borrow_stream(reinterpret_cast<void*>(native)));
          },
          nb::arg("native"), NoGil())
      .def(
          "create_event",
          [](DeviceHandle& d, bool external) {
            return EventHandle(
                d->create_event(external ? EventKind::kExternal : EventKind::kPlain));
          },
          nb::arg("external") = false, NoGil())
      .def(
          "create_pool", [](DeviceHandle& d) { return PoolHandle(d->create_pool()); }, NoGil())
      .def(
          "synchronize", [](DeviceHandle& d) { d->synchronize(); }, NoGil())
      .def(
          "copy",
          [](DeviceHandle& d, std::uintptr_t target, std::uintptr_t source, std::size_t bytes) {
            d->copy(reinterpret_cast<void*>(target), reinterpret_cast<void*>(source), bytes);
          },
          nb::arg("target"), nb::arg("source"), nb::arg("bytes"), NoGil())
      .def(
          "exchange_thread_mode",
          [](DeviceHandle& d, const std::string& mode) {
            return print_mode(d->exchange_thread_mode(parse_mode(mode)));
          },
          nb::arg("mode"));
}

} // namespace

std::string describe(const nb::python_error& error) {
  const std::string type = nb::cast<std::string>(error.type().attr("__name__"));
  return type + ": " + nb::cast<std::string>(nb::str(error.value()));
}

void add_device(const std::string& name, DeviceFactory factory) {
  devices()[name] = {std::move(factory), nullptr};
}

void bind(nb::module_& module) {
  nb::module_ submodule = module.def_submodule("runtime");
  bind_error(submodule);
  bind_small(submodule);
  bind_stream(submodule);
  bind_device(submodule);
}

} // namespace torchair::runtime
