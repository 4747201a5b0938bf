// Finds CANN's shared libraries and the functions of functions.h in them, at run time.
#pragma once

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "cann/functions.h"

namespace torchair::cann {

// One of CANN's libraries: where it was found, or why not.
struct LibraryFacts {
  std::string name;
  std::string path;  // empty when it was not loaded
  std::string error; // the loader's text; empty when no file was found
};

// A name that was looked up.
struct SymbolFacts {
  std::string name;
  Need need;
  bool found;
};

// CANN cannot be used. what() is one sentence; the details are for the person who installed it.
class LoadError : public std::runtime_error {
public:
  LoadError(const std::string& what, std::string found)
      : std::runtime_error(what), found_(std::move(found)) {}
  const std::string& found() const noexcept { return found_; }

private:
  std::string found_;
};

// The loaded libraries. They are never unloaded: CANN's own threads and exit handlers use them.
class Library {
public:
  // Looks in `folders`, in order, then where the system's loader looks.
  //
  // Throws LoadError when the ACL runtime is not there or lacks a function that torchair requires;
  // it names what was looked for and where.
  static std::shared_ptr<const Library> open(const std::vector<std::string>& folders);

  const AclFunctions& acl() const noexcept { return acl_; }
  const GeFunctions& ge() const noexcept { return ge_; }
  const std::vector<LibraryFacts>& libraries() const noexcept { return libraries_; }
  const std::vector<SymbolFacts>& symbols() const noexcept { return symbols_; }

  // The names of this need that were not found.
  std::vector<std::string> missing(Need need) const;
  // Throws LoadError naming the missing functions of one of these needs; `purpose` says for what.
  void require(const std::vector<Need>& needs, const std::string& purpose) const;
  // One line for each library and the missing names.
  std::string report() const;

private:
  explicit Library(const std::vector<std::string>& folders);
  void open_libraries(const std::vector<std::string>& folders);
  void* find(const char* symbol, const std::vector<void*>& handles, Need need);

  std::vector<std::string> folders_;
  std::vector<LibraryFacts> libraries_;
  std::vector<SymbolFacts> symbols_;
  std::vector<void*> acl_handles_;
  std::vector<void*> ge_handles_;
  AclFunctions acl_;
  GeFunctions ge_;
};

// Every name of functions.h, found or not, without opening anything.
std::vector<SymbolFacts> all_symbols();

} // namespace torchair::cann
