#include "estimation.h"

#include <cmath>
#include <utility>

namespace w2v2 {
namespace {

constexpr int kLongestOrder = 15;
constexpr uint64_t kLeftOut = uint64_t(1) << 63;  // set in the count of an n-gram that is pruned
constexpr size_t kTextBlock = 1 << 20;
constexpr size_t kLeastRoom = 1 << 20;

// Call `make` with the number as a constant.
template <int n = 1, class Make>
auto with_constant(int number, Make make) -> decltype(make(std::integral_constant<int, 1>())) {
  if constexpr (n < kLongestOrder) {
    if (number != n) return with_constant<n + 1>(number, make);
  }
  return make(std::integral_constant<int, n>());
}

void append_number(std::string* text, double value) {
  const bool negative = value < 0;
  uint64_t digits = uint64_t(std::llround(std::fabs(value) * 1e7));
  char buffer[32];
  char* at = buffer + sizeof buffer;
  uint64_t fraction = digits % 10000000, whole = digits / 10000000;
  int places = 7;
  while (places > 0 && fraction % 10 == 0) {
    fraction /= 10;
    --places;
  }
  const bool has_fraction = places > 0;
  for (; places > 0; --places, fraction /= 10) *--at = char('0' + fraction % 10);
  if (has_fraction) *--at = '.';
  do {
    *--at = char('0' + whole % 10);
    whole /= 10;
  } while (whole > 0);
  if (negative && digits != 0) *--at = '-';
  text->append(at, size_t(buffer + sizeof buffer - at));
}

int compare(const uint32_t* a, const uint32_t* b, int n) {
  for (int i = 0; i < n; ++i)
    if (a[i] != b[i]) return a[i] < b[i] ? -1 : 1;
  return 0;
}

float as_float(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

}  // namespace

Estimation::Estimation(int order, size_t memory, const char* folder)
    : order_(order), memory_(memory) {
  if (order < 1 || order > kLongestOrder)
    throw std::runtime_error("n-grams have 1 to " + std::to_string(kLongestOrder) + " words, not " +
                             std::to_string(order));
  job.folder = folder;
  counter_ = with_constant(order, [&](auto n) -> std::unique_ptr<Counter> {
    return std::make_unique<HashCounter<n>>(job);
  });
}

// Bytes beside the vocabulary and the arrays over it.
size_t Estimation::room() const {
  // For each word a count, an adjusted count, two figures and the words after one context.
  const size_t taken = numbers_.bytes() + numbers_.size() * 48 + 2 * kTextBlock;
  return std::max(memory_ > taken ? memory_ - taken : 0, kLeastRoom);
}

void Estimation::feed(const char* data, size_t size) {
  job.check();
  const char* const end = data + size;
  const char* line = data;
  while (data < end) {
    const char c = *data;
    if (c == ' ' || c == '\t') {
      ++data;
    } else if (c == '\n') {
      sentence();
      line = ++data;
    } else {
      const char* begin = data;
      while (data < end && *data != ' ' && *data != '\t' && *data != '\n') ++data;
      const uint32_t word = numbers_.number({begin, size_t(data - begin)});
      if (word < kFirstWord) {
        while (data < end && *data != '\n') ++data;
        throw std::runtime_error("The text holds '" + std::string(numbers_.text(word)) +
                                 "' as a word, in '" + std::string(line, data) + "': remove it.");
      }
      tokens_.push_back(word);
    }
  }
  sentence();
}

void Estimation::sentence() {
  if (tokens_.empty()) return;
  raw_.resize(numbers_.size());
  ++sentences_;
  words_ += tokens_.size();
  tokens_.push_back(kEnd);
  for (const uint32_t word : tokens_) ++raw_[word];
  reversed_.assign(tokens_.rbegin(), tokens_.rend());
  reversed_.resize(tokens_.size() + size_t(order_), kBegin);
  counter_->add(reversed_.data(), tokens_.size(), room());
  tokens_.clear();
}

void Estimation::limit(size_t words) {
  std::vector<uint32_t> by_count;
  for (uint32_t i = kFirstWord; i < numbers_.size(); ++i) by_count.push_back(i);
  std::stable_sort(by_count.begin(), by_count.end(),
                   [&](uint32_t a, uint32_t b) { return raw_[a] > raw_[b]; });
  by_count.resize(std::min(words, by_count.size()));
  allowed_.assign(numbers_.size(), false);
  for (const uint32_t word : by_count) allowed_[word] = true;
  for (const uint32_t special : {kUnk, kBegin, kEnd}) allowed_[special] = true;
}

void Estimation::allow(std::string_view words) {
  allowed_.assign(numbers_.size(), false);
  for (const uint32_t special : {kUnk, kBegin, kEnd}) allowed_[special] = true;
  for (size_t at = 0; at < words.size();) {
    const size_t end = std::min(words.find('\n', at), words.size());
    const uint32_t word = numbers_.find(words.substr(at, end - at));
    if (word != WordNumbers::kFree) allowed_[word] = true;
    at = end + 1;
  }
}

void Estimation::count(const uint64_t* thresholds, uint64_t* seen, uint64_t* kept) {
  thresholds_.assign(thresholds, thresholds + order_);
  seen_.assign(size_t(order_) * 4, 0);
  kept_.assign(size_t(order_), 0);
  raw_.resize(numbers_.size());
  adjusted_.assign(numbers_.size(), 0);
  const size_t merging = room() / 8;
  size_t held = 0;
  const auto top = counter_->finish(room() / 3, merging, &held);
  counter_.reset();
  const size_t sorting = room() - merging - held;
  const int shares = order_ * (order_ + 5) / 2 - 3;  // sizes of rows of 2 to `order` words and 2
  orders_.resize(size_t(order_) + 1);
  for (int n = 2; n <= order_; ++n)
    orders_[size_t(n)] = with_constant(n, [&](auto words) -> std::unique_ptr<Rows> {
      return std::make_unique<SortedRows<words>>(job, sorting / size_t(shares) * size_t(n + 2),
                                                 merging, false);
    });

  std::vector<uint32_t> before(size_t(order_), 0);
  std::vector<uint64_t> raw(size_t(order_) + 1, 0), distinct(size_t(order_) + 1, 0);
  bool first = true;
  const auto close = [&](int same) {
    // Groups of n-grams that end here: those with more words than the next n-gram shares.
    for (int n = order_ - 1; n > same; --n)
      emit(n, before.data(), raw[size_t(n)], distinct[size_t(n)]);
  };
  while (const uint32_t* row = top->next()) {
    uint64_t count;
    std::memcpy(&count, row + order_, sizeof count);
    int same = 0;
    if (!first)
      while (same < order_ && row[same] == before[size_t(same)]) ++same;
    if (!first) close(same);
    first = false;
    for (int n = same + 1; n < order_; ++n) raw[size_t(n)] = distinct[size_t(n)] = 0;
    for (int n = 1; n < order_; ++n) raw[size_t(n)] += count;
    for (int n = std::max(same, 1); n < order_; ++n) ++distinct[size_t(n)];
    std::copy(row, row + order_, before.begin());
    emit(order_, row, count, count);
  }
  if (!first) close(0);
  for (uint32_t word : {kUnk, kBegin})
    kept_[0] += raw_[word] == 0;  // never in a text, always in the model
  if (order_ > 1)
    for (int n = 2; n <= order_; ++n) orders_[size_t(n)]->sort();
  std::copy(seen_.begin(), seen_.end(), seen);
  std::copy(kept_.begin(), kept_.end(), kept);
}

void Estimation::emit(int n, const uint32_t* reversed, uint64_t raw, uint64_t adjusted) {
  // n-grams are padded with <s>. One that begins a sentence has a single <s>, as its first word.
  for (int i = 0; i + 1 < n; ++i)
    if (reversed[i] == kBegin) return;
  if (reversed[n - 1] == kBegin) adjusted = raw;
  if (adjusted >= 1 && adjusted <= 4) ++seen_[size_t(n - 1) * 4 + size_t(adjusted - 1)];
  bool keep = raw > thresholds_[size_t(n - 1)];
  if (!allowed_.empty())
    for (int i = 0; keep && i < n; ++i) keep = allowed_[reversed[i]];
  kept_[size_t(n - 1)] += keep;
  if (n == 1) {
    adjusted_[reversed[0]] = adjusted;
    return;
  }
  uint32_t by_context[kLongestOrder];
  std::copy(reversed + 1, reversed + n, by_context);
  by_context[n - 1] = reversed[0];
  const uint64_t value = adjusted | (keep ? 0 : kLeftOut);
  orders_[size_t(n)]->add(by_context, &value);
}

void Estimation::discount(const double* discounts) {
  probability_.assign(numbers_.size(), 0.0f);
  backoff_.assign(numbers_.size(), 1.0f);
  shares_.resize(size_t(order_) + 1);
  unigrams(discounts);
  for (int n = 2; n <= order_; ++n) discount_order(n, discounts + 4 * (n - 1));
  adjusted_ = {};
}

void Estimation::unigrams(const double* discounts) {
  uint64_t total = 0;
  double taken = 0;
  for (uint32_t i = 0; i < numbers_.size(); ++i) {
    total += adjusted_[i];
    taken += allowed(i) ? discounts[std::min<uint64_t>(adjusted_[i], 3)] : double(adjusted_[i]);
  }
  // Below the unigrams: uniform over all words but <s>.
  const double uniform = taken / double(total) / double(kept_[0] - 1);
  for (uint32_t i = 0; i < numbers_.size(); ++i) {
    const double left = double(adjusted_[i]) - discounts[std::min<uint64_t>(adjusted_[i], 3)];
    probability_[i] = float(left / double(total) + uniform);
  }
}

void Estimation::discount_order(int n, const double* discounts) {
  Rows& rows = *orders_[size_t(n)];
  if (n > 2) shares_[size_t(n)] = std::make_unique<Tape>(job, size_t(n) * sizeof(uint32_t));
  std::vector<uint32_t> context(size_t(n - 1)), last;
  std::vector<uint64_t> counts;
  while (const uint32_t* row = rows.next()) {
    if (!last.empty() && compare(context.data(), row, n - 1) != 0) {
      write_context(n, context.data(), last, counts, discounts);
      last.clear();
      counts.clear();
      job.check();
    }
    std::copy(row, row + n - 1, context.begin());
    last.push_back(row[n - 1]);
    uint64_t count;
    std::memcpy(&count, row + n, sizeof count);
    counts.push_back(count);
  }
  if (!last.empty()) write_context(n, context.data(), last, counts, discounts);
  rows.sort();
  if (shares_[size_t(n)]) shares_[size_t(n)]->rewind();
}

void Estimation::write_context(int n, const uint32_t* context, const std::vector<uint32_t>& last,
                               const std::vector<uint64_t>& counts, const double* discounts) {
  uint64_t total = 0, left_out = 0, by_size[4] = {0, 0, 0, 0};
  for (const uint64_t marked : counts) {
    const uint64_t count = marked & ~kLeftOut;
    total += count;
    if (marked & kLeftOut) left_out += count;
    else ++by_size[std::min<uint64_t>(count, 3)];
  }
  double taken = double(left_out);
  for (int i = 1; i < 4; ++i) taken += double(by_size[i]) * discounts[i];
  const float share = float(taken / double(total));
  uint32_t row[kLongestOrder + 1];
  if (n == 2) {
    backoff_[context[0]] = share;
  } else {
    std::copy(context, context + n - 1, row);
    std::memcpy(row + n - 1, &share, sizeof share);
    shares_[size_t(n)]->add(row);
  }
  std::copy(context, context + n - 1, row + 1);
  for (size_t i = 0; i < last.size(); ++i) {
    if (counts[i] & kLeftOut) continue;
    row[0] = last[i];
    const double left = double(counts[i]) - discounts[std::min<uint64_t>(counts[i], 3)];
    const float figures[2] = {float(left / double(total)), share};
    orders_[size_t(n)]->add(row, figures);
  }
}

void Estimation::write_line(const uint32_t* reversed, int n, double probability, double backoff) {
  append_number(&text_, probability);
  for (int i = n - 1; i >= 0; --i) {
    text_ += i == n - 1 ? '\t' : ' ';
    text_ += numbers_.text(reversed[i]);
  }
  if (n < order_) {
    text_ += '\t';
    append_number(&text_, backoff);
  }
  text_ += '\n';
}

void Estimation::write_unigrams() {
  for (uint32_t i = 0; i < numbers_.size(); ++i) {
    if (!allowed(i)) continue;
    const double log_prob = i == kBegin ? 0.0 : std::log10(double(probability_[i]));
    write_line(&i, 1, log_prob, std::log10(double(backoff_[i])));
  }
}

// Write the next n-gram of the order that is written; false after the last.
bool Estimation::write_row() {
  const int n = writing_;
  const uint32_t* row = orders_[size_t(n)]->next();
  if (row == nullptr) return false;
  float lower;
  if (n == 2) {
    lower = probability_[row[0]];
  } else {
    while (compare(below_row_, row, n - 1) != 0)
      below_row_ = static_cast<const uint32_t*>(below_->next());
    lower = as_float(below_row_[n - 1]);
  }
  const float probability = float(double(as_float(row[n])) + double(as_float(row[n + 1])) * lower);
  double backoff = 1.0;
  if (n < order_) {
    while (share_row_ != nullptr && compare(share_row_, row, n) < 0)
      share_row_ = static_cast<const uint32_t*>(shares_[size_t(n) + 1]->next());
    if (share_row_ != nullptr && compare(share_row_, row, n) == 0) backoff = as_float(share_row_[n]);
    uint32_t record[kLongestOrder + 1];
    std::copy(row, row + n, record);
    std::memcpy(record + n, &probability, sizeof probability);
    above_->add(record);
  }
  write_line(row, n, std::log10(double(probability)), std::log10(backoff));
  return true;
}

const std::string& Estimation::text() {
  job.check();
  text_.clear();
  if (writing_ == 0) {
    text_ = "\n\\1-grams:\n";
    write_unigrams();
    writing_ = 1;
    return text_;
  }
  while (text_.size() < kTextBlock) {
    if (writing_ > 1 && write_row()) continue;
    if (writing_ >= order_) break;
    orders_[size_t(writing_)].reset();
    shares_[size_t(writing_)].reset();
    ++writing_;
    text_ += "\n\\" + std::to_string(writing_) + "-grams:\n";
    below_ = std::move(above_);
    if (below_) {
      below_->rewind();
      below_row_ = static_cast<const uint32_t*>(below_->next());
    }
    if (writing_ < order_) {
      above_ = std::make_unique<Tape>(job, size_t(writing_ + 1) * sizeof(uint32_t));
      share_row_ = static_cast<const uint32_t*>(shares_[size_t(writing_) + 1]->next());
    }
  }
  return text_;
}

// The words of the model, each ended by a line feed.
const std::string& Estimation::vocabulary() {
  text_.clear();
  for (uint32_t i = kFirstWord; i < numbers_.size(); ++i) {
    if (!allowed(i)) continue;
    text_ += numbers_.text(i);
    text_ += '\n';
  }
  return text_;
}

}  // namespace w2v2

using w2v2::Estimation;

namespace {

// An estimation, and why its last call failed.
struct Handle {
  std::unique_ptr<Estimation> estimation;
  std::string error;
  int number = 0;  // of an error of the disk
};

template <class Work>
int guarded(void* handle, Work work) {
  Handle& h = *static_cast<Handle*>(handle);
  h.number = 0;
  try {
    work(h);
    return 1;
  } catch (const w2v2::DiskError& error) {
    h.error = error.what();
    h.number = error.number;
  } catch (const std::bad_alloc&) {
    h.error = "memory ran out";
    h.number = ENOMEM;
  } catch (const std::exception& error) {
    h.error = error.what();
  }
  return 0;
}

}  // namespace

extern "C" {

void* w2v2_estimate_new() { return new (std::nothrow) Handle(); }
void w2v2_estimate_free(void* handle) { delete static_cast<Handle*>(handle); }
const char* w2v2_estimate_error(const void* handle) {
  return static_cast<const Handle*>(handle)->error.c_str();
}
int w2v2_estimate_errno(const void* handle) { return static_cast<const Handle*>(handle)->number; }

int w2v2_estimate_begin(void* handle, int order, uint64_t memory, const char* folder) {
  return guarded(handle, [&](Handle& h) {
    h.estimation = std::make_unique<Estimation>(order, size_t(memory), folder);
  });
}

void w2v2_estimate_stop(void* handle) {
  static_cast<Handle*>(handle)->estimation->job.stopped = true;
}

int w2v2_estimate_feed(void* handle, const char* data, uint64_t size) {
  return guarded(handle, [&](Handle& h) { h.estimation->feed(data, size_t(size)); });
}

int w2v2_estimate_limit(void* handle, uint64_t words) {
  return guarded(handle, [&](Handle& h) { h.estimation->limit(size_t(words)); });
}

int w2v2_estimate_allow(void* handle, const char* data, uint64_t size) {
  return guarded(handle, [&](Handle& h) { h.estimation->allow({data, size_t(size)}); });
}

int w2v2_estimate_count(void* handle, const uint64_t* thresholds, uint64_t* seen, uint64_t* kept) {
  return guarded(handle, [&](Handle& h) { h.estimation->count(thresholds, seen, kept); });
}

int w2v2_estimate_discount(void* handle, const double* discounts) {
  return guarded(handle, [&](Handle& h) { h.estimation->discount(discounts); });
}

int w2v2_estimate_text(void* handle, const char** data, uint64_t* size) {
  return guarded(handle, [&](Handle& h) {
    const std::string& text = h.estimation->text();
    *data = text.data();
    *size = text.size();
  });
}

int w2v2_estimate_vocabulary(void* handle, const char** data, uint64_t* size) {
  return guarded(handle, [&](Handle& h) {
    const std::string& text = h.estimation->vocabulary();
    *data = text.data();
    *size = text.size();
  });
}

// facts: words, sentences, distinct words, most bytes on disk, runs.
void w2v2_estimate_facts(const void* handle, uint64_t* facts) {
  const Estimation& e = *static_cast<const Handle*>(handle)->estimation;
  const uint64_t all[] = {e.words(), e.sentences(), e.types(), e.job.most_disk, e.job.runs};
  std::copy(std::begin(all), std::end(all), facts);
}

}  // extern "C"
