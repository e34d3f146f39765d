// Rows of words that are sorted in memory, or by sorted runs on disk where they do not fit.
#pragma once

#include <cstdint>
#include <limits>

#include "temporary.h"

namespace w2v2 {

template <int n>
struct Row {
  uint32_t words[n];
  uint32_t value[2];  // 8 bytes that need no alignment

  uint64_t count() const {
    uint64_t number;
    std::memcpy(&number, value, sizeof number);
    return number;
  }
  void set_count(uint64_t number) { std::memcpy(value, &number, sizeof number); }
};

template <int n>
inline bool operator<(const Row<n>& a, const Row<n>& b) {
  for (int i = 0; i < n; ++i)
    if (a.words[i] != b.words[i]) return a.words[i] < b.words[i];
  return false;
}

template <int n>
inline bool same_words(const Row<n>& a, const Row<n>& b) {
  return std::memcmp(a.words, b.words, sizeof a.words) == 0;
}

// Memory that is touched as it is filled.
template <class T>
struct Block {
  explicit Block(size_t count) : data(static_cast<T*>(std::calloc(count, sizeof(T)))) {
    if (data == nullptr) throw std::bad_alloc();
  }
  ~Block() { std::free(data); }
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;
  void shrink(size_t count) {
    void* less = std::realloc(data, std::max<size_t>(count, 1) * sizeof(T));
    if (less != nullptr) data = static_cast<T*>(less);
  }
  T* data;
};

// As std::sort, and stops soon when the job is stopped. No two rows have the same words.
template <int n>
void sort_rows(Row<n>* begin, Row<n>* end, const Job& job) {
  while (end - begin > (1 << 17)) {
    Row<n> sample[9];
    for (int i = 0; i < 9; ++i) sample[i] = begin[(end - begin) / 10 * (i + 1)];
    std::sort(sample, sample + 9);
    const Row<n> pivot = sample[4];
    Row<n>* middle = std::partition(begin, end, [&](const Row<n>& row) { return row < pivot; });
    if (middle == begin) break;  // the pivot is not the smallest of its sample, so this is not met
    sort_rows(begin, middle, job);
    begin = middle;
  }
  job.check();
  std::sort(begin, end);
}

// Rows of any number of words: `add` all, `sort`, then `next` until null. While rows are read,
// others may be added, no more than were read, for the next `sort`.
class Rows {
 public:
  virtual ~Rows() = default;
  virtual void add(const uint32_t* words, const void* value) = 0;
  virtual void sort() = 0;
  // n words, then the 8 bytes of the value.
  virtual const uint32_t* next() = 0;
};

template <int n>
class SortedRows : public Rows {
 public:
  // memory: bytes of rows that are held; merging: bytes that reading runs may take beside them.
  // sum: rows of the same words in different runs are one, with the sum of their counts.
  SortedRows(Job& job, size_t memory, size_t merging, bool sum)
      : job_(job),
        merging_(merging),
        sum_(sum),
        capacity_(memory / sizeof(Row<n>)),
        rows_(memory == 0 ? nullptr : std::make_unique<Block<Row<n>>>(capacity_)) {}

  void add(const uint32_t* words, const void* value) override {
    if (used_ == capacity_) flush();
    Row<n>& row = rows_->data[used_++];
    std::memcpy(row.words, words, sizeof row.words);
    std::memcpy(row.value, value, sizeof row.value);
  }

  void sort() override {
    if (!made_) {
      sources_.clear();
      heap_.clear();
      file_.reset();
      if (used_ > 0) sort_rows(rows_->data, rows_->data + used_, job_);
      filled_ = used_;
      at_ = used_ = 0;
      return;
    }
    if (used_ > 0) flush();
    filled_ = at_ = 0;
    file_ = std::move(made_);
    runs_ = std::move(made_runs_);
    made_runs_.clear();
    const size_t most = std::max<size_t>(merging_ / kSmallest, 2);
    while (runs_.size() > most) merge_once(most);
    opened_ = false;  // until the first row is read: only one of several merges takes memory
  }

  const uint32_t* next() override {
    if (file_) {
      if (!opened_) open(0, runs_.size(), merging_);
      opened_ = true;
      if (pop()) return front_.words;
      std::vector<Source>().swap(sources_);
      file_.reset();
    }
    return at_ == filled_ ? nullptr : rows_->data[at_++].words;
  }

  // A run of rows that are sorted already.
  void write_run(const Row<n>* begin, const Row<n>* end) {
    if (!made_) made_ = std::make_unique<TemporaryFile>(job_);
    made_runs_.push_back({made_->size(), uint64_t(end - begin)});
    made_->append(begin, size_t(end - begin) * sizeof(Row<n>));
    ++job_.runs;
  }

  void set_merging(size_t memory) { merging_ = memory; }

  // Take over `used` rows; `sort` sorts them where they are.
  void adopt(std::unique_ptr<Block<Row<n>>> rows, size_t used) {
    rows_ = std::move(rows);
    capacity_ = used_ = used;
  }

 private:
  static constexpr size_t kSmallest = 1 << 16;  // bytes of a run that are read at a time, at least

  struct Run {
    uint64_t offset, rows;
  };

  struct Source {
    Run left;
    std::vector<Row<n>> block;
    size_t at, filled;
    const Row<n>& row() const { return block[at]; }
  };

  void flush() {
    sort_rows(rows_->data, rows_->data + used_, job_);
    write_run(rows_->data, rows_->data + used_);
    used_ = 0;
  }

  bool fill(Source& source) {
    source.at = 0;
    source.filled = size_t(std::min<uint64_t>(source.left.rows, source.block.size()));
    if (source.filled == 0) return false;
    const size_t bytes = source.filled * sizeof(Row<n>);
    file_->read(source.left.offset, source.block.data(), bytes);
    source.left.offset += bytes;
    source.left.rows -= source.filled;
    return true;
  }

  void open(size_t begin, size_t end, size_t memory) {
    sources_.clear();
    heap_.clear();
    const size_t rows = std::max<size_t>(memory / (end - begin) / sizeof(Row<n>), 1);
    for (size_t i = begin; i < end; ++i) {
      sources_.push_back({runs_[i], {}, 0, 0});
      Source& source = sources_.back();
      source.block.resize(size_t(std::min<uint64_t>(rows, source.left.rows)));
      if (fill(source)) heap_.push_back(uint32_t(sources_.size() - 1));
    }
    for (size_t i = heap_.size(); i > 0; --i) sink(i - 1);
  }

  void sink(size_t at) {
    const uint32_t moved = heap_[at];
    const size_t size = heap_.size();
    for (size_t child; (child = 2 * at + 1) < size; at = child) {
      if (child + 1 < size && row(heap_[child + 1]) < row(heap_[child])) ++child;
      if (!(row(heap_[child]) < row(moved))) break;
      heap_[at] = heap_[child];
    }
    heap_[at] = moved;
  }

  const Row<n>& row(uint32_t source) const { return sources_[source].row(); }

  void advance() {
    Source& source = sources_[heap_[0]];
    if (++source.at == source.filled && !fill(source)) {
      heap_[0] = heap_.back();
      heap_.pop_back();
    }
    if (!heap_.empty()) sink(0);
  }

  bool pop() {
    if (heap_.empty()) return false;
    front_ = row(heap_[0]);
    advance();
    if (sum_) {
      uint64_t total = front_.count();
      while (!heap_.empty() && same_words(row(heap_[0]), front_)) {
        total += row(heap_[0]).count();
        advance();
      }
      front_.set_count(total);
    }
    return true;
  }

  // Too many runs to read them all at once: merge them in groups.
  void merge_once(size_t most) {
    auto merged = std::make_unique<TemporaryFile>(job_);
    std::vector<Run> runs;
    std::vector<Row<n>> block(std::max<size_t>(merging_ / most / sizeof(Row<n>), 1));
    for (size_t begin = 0; begin < runs_.size(); begin += most) {
      open(begin, std::min(begin + most, runs_.size()), merging_);
      Run run{merged->size(), 0};
      size_t filled = 0;
      const auto write = [&] {
        merged->append(block.data(), filled * sizeof(Row<n>));
        run.rows += filled;
        filled = 0;
      };
      while (pop()) {
        block[filled++] = front_;
        if (filled == block.size()) write();
      }
      write();
      runs.push_back(run);
    }
    file_ = std::move(merged);
    runs_ = std::move(runs);
  }

  Job& job_;
  size_t merging_;
  bool sum_;
  size_t capacity_, used_ = 0;             // rows that were added
  size_t at_ = 0, filled_ = 0;             // rows that are read from memory
  std::unique_ptr<Block<Row<n>>> rows_;
  std::unique_ptr<TemporaryFile> made_, file_;  // runs of rows added, and those that are read
  std::vector<Run> made_runs_, runs_;
  std::vector<Source> sources_;
  std::vector<uint32_t> heap_;
  bool opened_ = false;
  Row<n> front_;
};

}  // namespace w2v2
