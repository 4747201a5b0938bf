// Python bindings of the runtime interface.
#pragma once

#include <nanobind/nanobind.h>

#include <functional>
#include <memory>
#include <string>

#include "runtime/gil.h"
#include "runtime/runtime.h"

namespace torchair::runtime {

using DeviceFactory = std::function<std::shared_ptr<Device>()>;

// Makes a device available as runtime.Device(name). The factory is called when Python first asks
// for it and may throw; what it returns serves the whole process.
void add_device(const std::string& name, DeviceFactory factory);

// A Python object's share of a device object. The last share may wait for a thread that needs the
// interpreter, so it is given up without it.
template <typename Object> class Handle {
public:
  explicit Handle(std::shared_ptr<Object> object) : object_(std::move(object)) {}
  Handle(Handle&&) noexcept = default;
  Handle& operator=(Handle&&) = delete;
  ~Handle() {
    if (object_) { // a Python object dies with the interpreter held
      const runtime::ReleasedGil no_gil;
      object_.reset();
    }
  }
  Object& operator*() const { return *object_; }
  Object* operator->() const { return object_.get(); }
  const std::shared_ptr<Object>& share() const { return object_; }

private:
  std::shared_ptr<Object> object_;
};

// "ValueError: what it says".
std::string describe(const nanobind::python_error& error);

void bind(nanobind::module_& module);

} // namespace torchair::runtime
