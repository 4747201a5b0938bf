// An immutable list of ATen calls that runs without Python between them.
#pragma once

#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "program/context.h"
#include "program/parts.h"

namespace torchair::program {

// A call failed. what() is torch's text.
class OperatorError : public std::runtime_error {
public:
  OperatorError(std::size_t instruction, const std::string& text)
      : std::runtime_error(text), instruction_(instruction) {}
  std::size_t instruction() const noexcept { return instruction_; }

private:
  std::size_t instruction_;
};

// Instructions first ... last - 1, all on one stream, without an event in between.
struct Segment {
  std::size_t first;
  std::size_t last;
};

using Look = std::function<void(std::size_t instruction)>;

class Program {
public:
  // Throws what check_parts() throws.
  explicit Program(Parts parts);
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  const Parts& parts() const { return parts_; }
  // Makes one call, and drops what it frees unless it fails. `look` is called in between with the
  // number of the instruction, when there is one. Throws OperatorError.
  void execute(std::size_t instruction, Context& context, const Look& look = nullptr) const;
  // Makes all of them: stream 0 on this thread, the others on the context's. Throws OperatorError
  // with the first failure, after every thread has come to its end.
  void execute_all(Context& context, const Look& look = nullptr) const;
  // In the order of the instructions.
  const std::vector<Segment>& segments() const { return segments_; }

private:
  class Run;

  Parts parts_;
  std::vector<std::vector<std::size_t>> by_stream_;
  std::vector<Segment> segments_;
};

} // namespace torchair::program
