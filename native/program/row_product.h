// The product of a float32 matrix and a vector, as the program executor computes it itself.
//
// Every element is added up in one fixed order: four partial sums, of every fourth product each, of
// which the first one takes the first four products; then (0 + 2) + (1 + 3). That is the order of
// MKL's kernel for processors for which it has no wider one, which reads a matrix at a third of the
// speed of memory, because it takes row by row. Here eight rows are taken at once.
#pragma once

#include <cstdint>

namespace torchair::program {

// Which product a call computes. `n_threads` is the number of threads with which torch was seen to
// add in the same order.
struct RowProduct {
  std::int64_t n_rows = 0;
  std::int64_t n_columns = 0;
  bool has_bias = false;
  bool allocates = false; // the result has no place before the call
  std::uint32_t n_threads = 1;
};

// Operands of one product: `matrix` row by row without gaps, `bias` null or one number per row.
struct RowProductData {
  const float* matrix;
  const float* vector;
  const float* bias;
  float* result;
};

// Whether multiply() takes these shapes: n_columns is a positive multiple of four.
bool is_product(const RowProduct& product);

// Whether multiply() takes these addresses: those of the matrix and the vector are multiples of 16.
bool is_aligned(const RowProductData& data);

// result[i] = bias[i] + sum of matrix[i][k] * vector[k], on torch's threads.
void multiply(const RowProduct& product, const RowProductData& data);

} // namespace torchair::program
