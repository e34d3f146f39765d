// Words numbered as they appear, and n-grams counted in a hash table that goes to disk when full.
#pragma once

#include <string_view>

#include "sorted_rows.h"

namespace w2v2 {

constexpr uint32_t kUnk = 0, kBegin = 1, kEnd = 2, kFirstWord = 3;

class WordNumbers {
 public:
  WordNumbers() {
    table_.assign(1 << 12, kFree);
    for (const char* special : {"<unk>", "<s>", "</s>"}) number(special);
  }

  uint32_t number(std::string_view word) {
    const uint32_t hash = hashed(word);
    const size_t at = slot(word, hash);
    if (table_[at] != kFree) return table_[at];
    const uint32_t added = uint32_t(entries_.size());
    entries_.push_back({keep(word), uint32_t(word.size()), hash});
    table_[at] = added;
    if (entries_.size() * 2 > table_.size()) grow();
    return added;
  }

  // The number of a word that is there, else kFree.
  uint32_t find(std::string_view word) const { return table_[slot(word, hashed(word))]; }

  std::string_view text(uint32_t number) const {
    return {entries_[number].text, entries_[number].size};
  }
  size_t size() const { return entries_.size(); }
  size_t bytes() const {
    return entries_.capacity() * sizeof(Entry) + table_.size() * sizeof(uint32_t) +
           texts_.size() * kChunk + large_;
  }

  static constexpr uint32_t kFree = std::numeric_limits<uint32_t>::max();

 private:
  static constexpr size_t kChunk = 1 << 18;

  struct Entry {
    const char* text;
    uint32_t size, hash;
  };

  static uint32_t hashed(std::string_view word) {
    uint64_t hash = 0xCBF29CE484222325ull;
    for (const char c : word) hash = (hash ^ uint8_t(c)) * 0x100000001B3ull;
    hash ^= hash >> 29;
    return uint32_t((hash * 0x9E3779B97F4A7C15ull) >> 32);
  }

  // Where a word stands in the table, or the free place where it would.
  size_t slot(std::string_view word, uint32_t hash) const {
    size_t at = hash & (table_.size() - 1);
    for (; table_[at] != kFree; at = (at + 1) & (table_.size() - 1)) {
      const Entry& entry = entries_[table_[at]];
      if (entry.hash == hash && text(table_[at]) == word) break;
    }
    return at;
  }

  const char* keep(std::string_view word) {
    if (word.size() > kChunk / 4) {  // a chunk of its own
      longer_.push_back(std::make_unique<char[]>(word.size()));
      large_ += word.size();
      std::memcpy(longer_.back().get(), word.data(), word.size());
      return longer_.back().get();
    }
    if (texts_.empty() || free_ < word.size()) {
      texts_.push_back(std::make_unique<char[]>(kChunk));
      free_ = kChunk;
    }
    char* place = texts_.back().get() + (kChunk - free_);
    if (!word.empty()) std::memcpy(place, word.data(), word.size());
    free_ -= word.size();
    return place;
  }

  void grow() {
    table_.assign(table_.size() * 2, kFree);
    for (uint32_t i = 0; i < entries_.size(); ++i) {
      size_t at = entries_[i].hash & (table_.size() - 1);
      while (table_[at] != kFree) at = (at + 1) & (table_.size() - 1);
      table_[at] = i;
    }
  }

  std::vector<Entry> entries_;
  std::vector<uint32_t> table_;
  std::vector<std::unique_ptr<char[]>> texts_, longer_;
  size_t free_ = 0, large_ = 0;
};

// Distinct n-grams of one length, words in reverse, with their counts.
class Counter {
 public:
  virtual ~Counter() = default;
  // `count` n-grams; each begins at the next word of `reversed`. room: bytes that may be taken.
  virtual void add(const uint32_t* reversed, size_t count, size_t room) = 0;
  // Sort them; those that take more than `room` bytes go to disk. Afterwards no more are added.
  virtual std::unique_ptr<Rows> finish(size_t room, size_t merging, size_t* kept) = 0;
};

template <int n>
class HashCounter : public Counter {
 public:
  explicit HashCounter(Job& job)
      : job_(job), runs_(std::make_unique<SortedRows<n>>(job, 0, 0, true)) {
    allocate(1 << 12);
  }

  void add(const uint32_t* reversed, size_t count, size_t room) override {
    places_.resize(count);
    for (size_t i = 0; i < count; ++i) places_[i] = hashed(reversed + i);
    for (size_t i = 0; i < count; ++i) {
      if (i + kAhead < count) __builtin_prefetch(&table_->data[place(places_[i + kAhead])], 1);
      insert(reversed + i, place(places_[i]));
      if (used_ > slots_ / 10 * 7) make_room(room);
    }
  }

  std::unique_ptr<Rows> finish(size_t room, size_t merging, size_t* kept) override {
    gather();
    if (flushed_ || used_ * sizeof(Row<n>) > room) {
      flush();
      table_.reset();
      *kept = 0;
    } else {
      table_->shrink(used_);
      *kept = used_ * sizeof(Row<n>);
      runs_->adopt(std::move(table_), used_);
    }
    runs_->set_merging(merging);
    runs_->sort();
    return std::move(runs_);
  }

 private:
  static constexpr size_t kAhead = 8;

  static uint64_t hashed(const uint32_t* words) {
    uint64_t hash = 0x9E3779B97F4A7C15ull;
    for (int i = 0; i < n; ++i) {
      hash = (hash ^ words[i]) * 0xBF58476D1CE4E5B9ull;
      hash ^= hash >> 31;
    }
    return hash;
  }

  size_t place(uint64_t hash) const { return size_t((hash >> 32) * slots_ >> 32); }

  void allocate(size_t slots) {
    table_.reset();
    table_ = std::make_unique<Block<Row<n>>>(slots);
    slots_ = slots;
    used_ = 0;
  }

  void insert(const uint32_t* words, size_t at) {
    for (;; at = at + 1 == slots_ ? 0 : at + 1) {
      Row<n>& row = table_->data[at];
      const uint64_t count = row.count();
      if (count == 0) {
        std::memcpy(row.words, words, sizeof row.words);
        row.set_count(1);
        ++used_;
        return;
      }
      if (std::memcmp(row.words, words, sizeof row.words) == 0) {
        row.set_count(count + 1);
        return;
      }
    }
  }

  void make_room(size_t room) {
    const size_t most = std::max<size_t>(room / sizeof(Row<n>), 1 << 10);
    if (slots_ * 3 <= most) {
      grow(slots_ * 2);
    } else {
      gather();
      flush();
      flushed_ = true;
      allocate(std::min<size_t>(most, uint64_t(1) << 32));
    }
  }

  void grow(size_t slots) {
    const auto before = std::move(table_);
    const size_t count = slots_;
    allocate(slots);
    for (size_t i = 0; i < count; ++i) {
      const Row<n>& row = before->data[i];
      if (row.count() == 0) continue;
      size_t at = place(hashed(row.words));
      while (table_->data[at].count() != 0) at = at + 1 == slots_ ? 0 : at + 1;
      table_->data[at] = row;
      ++used_;
    }
  }

  // Move all n-grams to the front of the table.
  void gather() {
    size_t end = 0;
    for (size_t i = 0; i < slots_; ++i)
      if (table_->data[i].count() != 0) table_->data[end++] = table_->data[i];
    used_ = end;
  }

  void flush() {
    sort_rows(table_->data, table_->data + used_, job_);
    runs_->write_run(table_->data, table_->data + used_);
    used_ = 0;
  }

  Job& job_;
  std::unique_ptr<SortedRows<n>> runs_;
  std::unique_ptr<Block<Row<n>>> table_;
  size_t slots_ = 0, used_ = 0;
  bool flushed_ = false;
  std::vector<uint64_t> places_;
};

}  // namespace w2v2
