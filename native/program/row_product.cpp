#include "program/row_product.h"

#include <algorithm>
#include <utility>

#include "program/cshim.h"

namespace torchair::program {
namespace {

using Lanes = float __attribute__((vector_size(16), may_alias));
constexpr std::int64_t kLanes = 4;
constexpr std::int64_t kBlock = 8;      // rows at once: as many sums as hide an addition's time
constexpr std::int64_t kCacheLine = 16; // numbers
constexpr std::int64_t kAhead = 512;    // numbers between what is used and what is fetched
constexpr std::int64_t kSerial = 128 * 1024; // fewer elements are not worth another thread

const Lanes& lanes_at(const float* address) { return *reinterpret_cast<const Lanes*>(address); }

template <std::int64_t n_rows> class Block {
public:
  Block(const float* matrix, const float* vector, std::int64_t n_columns)
      : vector_(vector), n_columns_(n_columns) {
    for (std::int64_t r = 0; r < n_rows; ++r) {
      row_[r] = matrix + r * n_columns;
      float first = row_[r][0] * vector[0];
      for (std::int64_t k = 1; k < kLanes; ++k)
        first += row_[r][k] * vector[k];
      sum_[r] = Lanes{first, 0, 0, 0};
    }
  }

  void add_up() {
    std::int64_t k = kLanes;
    for (; k + kCacheLine <= n_columns_; k += kCacheLine) {
      fetch_ahead(k);
      for (std::int64_t i = 0; i < kCacheLine; i += kLanes)
        add(k + i);
    }
    for (; k < n_columns_; k += kLanes)
      add(k);
  }

  void store(const float* bias, float* result) const {
    for (std::int64_t r = 0; r < n_rows; ++r) {
      const float total = (sum_[r][0] + sum_[r][2]) + (sum_[r][1] + sum_[r][3]);
      result[r] = bias == nullptr ? total : bias[r] + total;
    }
  }

private:
  void add(std::int64_t k) {
    const Lanes factor = lanes_at(vector_ + k);
    for (std::int64_t r = 0; r < n_rows; ++r)
      sum_[r] += lanes_at(row_[r] + k) * factor;
  }
  // Short rows go on in the next block. Eight short streams are more than processors foresee.
  void fetch_ahead(std::int64_t k) const {
    std::int64_t ahead = k + std::min(kAhead, n_columns_);
    if (ahead >= n_columns_)
      ahead += (n_rows - 1) * n_columns_;
    for (std::int64_t r = 0; r < n_rows; ++r)
      __builtin_prefetch(row_[r] + ahead);
  }

  const float* row_[n_rows];
  const float* vector_;
  std::int64_t n_columns_;
  Lanes sum_[n_rows];
};

template <std::int64_t n_rows>
void multiply_block(const RowProduct& product, const RowProductData& data, std::int64_t first) {
  Block<n_rows> block(data.matrix + first * product.n_columns, data.vector, product.n_columns);
  block.add_up();
  block.store(data.bias == nullptr ? nullptr : data.bias + first, data.result + first);
}

void multiply_rows(const RowProduct& product, const RowProductData& data, std::int64_t begin,
                   std::int64_t end) {
  for (; begin + kBlock <= end; begin += kBlock)
    multiply_block<kBlock>(product, data, begin);
  for (; begin < end; ++begin)
    multiply_block<1>(product, data, begin);
}

} // namespace

bool is_product(const RowProduct& product) {
  return product.n_rows > 0 && product.n_columns > 0 && product.n_columns % kLanes == 0;
}

bool is_aligned(const RowProductData& data) {
  const auto addresses =
      reinterpret_cast<std::uintptr_t>(data.matrix) | reinterpret_cast<std::uintptr_t>(data.vector);
  return addresses % sizeof(Lanes) == 0;
}

void multiply(const RowProduct& product, const RowProductData& data) {
  if (product.n_rows * product.n_columns <= kSerial || product.n_threads == 1) {
    multiply_rows(product, data, 0, product.n_rows);
    return;
  }
  const std::pair context(&product, &data);
  const std::int64_t n_blocks = (product.n_rows + kBlock - 1) / kBlock;
  const std::int64_t grain = std::max<std::int64_t>(1, kSerial / (kBlock * product.n_columns));
  check(cshim().parallel_for(
      0, n_blocks, grain,
      [](std::int64_t begin, std::int64_t end, void* opaque) {
        const auto& [product, data] = *static_cast<decltype(context)*>(opaque);
        multiply_rows(*product, *data, begin * kBlock, std::min(end * kBlock, product->n_rows));
      },
      const_cast<void*>(static_cast<const void*>(&context))));
}

} // namespace torchair::program
