#include "cann/loader.h"

#include <dlfcn.h>

#include <algorithm>
#include <filesystem>
#include <sstream>

namespace torchair::cann {
namespace {

// libascendcl.so is the compatibility library; since 8.5.0 the code is in libacl_rt.so, which the
// first one depends on.
constexpr const char* kAclLibraries[] = {"libascendcl.so", "libacl_rt.so"};
// Only what graphs print comes through it.
constexpr const char* kChannelLibraries[] = {"libacl_tdt_channel.so"};
// The wrappers come with the Python package `ge`. Until 9.0 there was one, and it cannot run a
// graph on a stream.
constexpr const char* kGeLibraries[] = {
    "libge_runner.so",  "libge_compiler.so",        "libgraph.so",
    "libgraph_base.so", "libge_runtime_wrapper.so", "libgraph_wrapper.so"};

std::string dl_error() {
  const char* text = dlerror();
  return text == nullptr ? "unknown reason" : text;
}

std::string loaded_path(void* handle, const std::string& fallback) {
  char folder[4096] = {};
  if (dlinfo(handle, RTLD_DI_ORIGIN, folder) != 0)
    return fallback;
  return (std::filesystem::path(folder) / std::filesystem::path(fallback).filename()).string();
}

// The first folder that has the file decides; without one the system's loader looks.
void* open_library(const std::string& name, const std::vector<std::string>& folders,
                   LibraryFacts& facts) {
  for (const std::string& folder : folders) {
    const std::filesystem::path path = std::filesystem::path(folder) / name;
    std::error_code ignored; // an unreadable folder has no such file
    if (!std::filesystem::exists(path, ignored))
      continue;
    void* handle = dlopen(path.c_str(), RTLD_LAZY | RTLD_LOCAL);
    if (handle == nullptr)
      facts.error = dl_error();
    else
      facts.path = path.string();
    return handle;
  }
  void* handle = dlopen(name.c_str(), RTLD_LAZY | RTLD_LOCAL);
  if (handle != nullptr)
    facts.path = loaded_path(handle, name);
  return handle;
}

std::string joined(const std::vector<std::string>& words, const char* separator) {
  std::string text;
  for (const std::string& word : words)
    text += (text.empty() ? "" : separator) + word;
  return text;
}

template <typename Function> void assign(Function& function, void* address) {
  function = reinterpret_cast<Function>(address);
}

} // namespace

std::shared_ptr<const Library> Library::open(const std::vector<std::string>& folders) {
  const std::shared_ptr<const Library> library(new Library(folders));
  if (library->acl_handles_.empty())
    throw LoadError("the cann engine needs libascendcl.so or libacl_rt.so, which is not here",
                    library->report());
  library->require({Need::kRuntime}, "to use the device");
  return library;
}

Library::Library(const std::vector<std::string>& folders) : folders_(folders) {
  open_libraries(folders);
#define TORCHAIR_FIND(name, need, ...) assign(acl_.name, find(#name, acl_handles_, Need::need));
  TORCHAIR_ACL_FUNCTIONS(TORCHAIR_FIND)
#undef TORCHAIR_FIND
#define TORCHAIR_FIND(name, need, symbol, ...)                                                     \
  assign(ge_.name, find(symbol, ge_handles_, Need::need));
  TORCHAIR_GE_FUNCTIONS(TORCHAIR_FIND)
#undef TORCHAIR_FIND
  if (ge_.string_less != nullptr)
    ge::Less::order = ge_.string_less;
}

void Library::open_libraries(const std::vector<std::string>& folders) {
  const auto open_all = [&](const auto& names, std::vector<void*>& handles) {
    for (const char* name : names) {
      LibraryFacts facts{name, {}, {}};
      if (void* handle = open_library(name, folders, facts))
        handles.push_back(handle);
      libraries_.push_back(std::move(facts));
    }
  };
  open_all(kAclLibraries, acl_handles_);
  if (!acl_handles_.empty())
    open_all(kChannelLibraries, acl_handles_);
  open_all(kGeLibraries, ge_handles_);
}

void* Library::find(const char* symbol, const std::vector<void*>& handles, Need need) {
  void* address = nullptr;
  for (void* handle : handles) {
    address = dlsym(handle, symbol);
    if (address != nullptr)
      break;
  }
  symbols_.push_back({symbol, need, address != nullptr});
  return address;
}

std::vector<std::string> Library::missing(Need need) const {
  std::vector<std::string> names;
  for (const SymbolFacts& symbol : symbols_)
    if (symbol.need == need && !symbol.found)
      names.push_back(symbol.name);
  return names;
}

void Library::require(const std::vector<Need>& needs, const std::string& purpose) const {
  std::vector<std::string> names;
  for (Need need : needs)
    for (std::string& name : missing(need))
      names.push_back(std::move(name));
  if (names.empty())
    return;
  const std::string count = std::to_string(names.size());
  throw LoadError("CANN lacks " + count + " of the functions that torchair needs " + purpose +
                      ": " + joined(names, ", "),
                  report());
}

std::string Library::report() const {
  std::ostringstream text;
  text << "looked in " << (folders_.empty() ? "no folder" : joined(folders_, ", "))
       << " and where the system's loader looks";
  for (const LibraryFacts& library : libraries_) {
    text << "\n    " << library.name << ": ";
    if (!library.path.empty())
      text << library.path;
    else
      text << (library.error.empty() ? "not found" : library.error);
  }
  return text.str();
}

std::vector<SymbolFacts> all_symbols() {
  return {
#define TORCHAIR_LIST(name, need, ...) {#name, Need::need, false},
      TORCHAIR_ACL_FUNCTIONS(TORCHAIR_LIST)
#undef TORCHAIR_LIST
#define TORCHAIR_LIST(name, need, symbol, ...) {symbol, Need::need, false},
          TORCHAIR_GE_FUNCTIONS(TORCHAIR_LIST)
#undef TORCHAIR_LIST
  };
}

} // namespace torchair::cann
