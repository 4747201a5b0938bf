// What a program is made of.
#pragma once

#include <vector>

#include "program/instruction.h"

namespace torchair::program {

struct Parts {
  std::size_t n_inputs = 0;
  std::size_t n_temporaries = 0;
  std::vector<Tensor> constants = {};
  ProxyHandle proxy = nullptr;
  std::vector<Instruction> instructions = {};
  std::vector<Register> outputs = {};
  // Of a planned program: what every input must look like; empty when it takes any.
  std::vector<Layout> input_layouts = {};
  std::int64_t arena_bytes = 0;
  std::vector<ArenaTensor> arena_tensors = {};
  std::vector<FixedView> views = {};
  // Streams 1 ... have a thread each.
  std::uint32_t n_streams = 1;
  std::uint32_t n_events = 0;

  std::size_t first_temporary() const { return n_inputs + constants.size(); }
  std::size_t n_registers() const { return first_temporary() + n_temporaries; }
};

// Throws std::invalid_argument: a register out of range, one that is written but no temporary, a
// proxy call without a proxy, a place outside the arena, a stream or an event out of range, an
// event that is recorded twice or waited for before its record, a layout too many or too few.
void check_parts(const Parts& parts);

} // namespace torchair::program
