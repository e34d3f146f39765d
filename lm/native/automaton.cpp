#include "automaton.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>

namespace w2v2 {
namespace {

constexpr char kMagic[8] = {'w', '2', 'v', '2', 'l', 'm', '0', '2'};
constexpr uint64_t kMostSlots = uint64_t(1) << 33;

uint64_t slots_for(uint64_t count) {
  uint64_t slots = 16;
  while (slots * 2 < count * 3) slots *= 2;
  return slots;
}

uint64_t padded(uint64_t bytes) { return (bytes + 63) / 64 * 64; }

// Sizes of the parts after the header, in the order of the file.
void part_sizes(const Header& h, uint64_t sizes[6]) {
  sizes[0] = h.arc_slots * sizeof(Arc);
  sizes[1] = h.states * sizeof(float);
  sizes[2] = h.states * sizeof(uint32_t);
  sizes[3] = h.words * sizeof(uint64_t);
  sizes[4] = h.word_slots * sizeof(uint32_t);
  sizes[5] = h.text_bytes;
}

// Parse digits, a point and an exponent, as ARPA files have them; several times faster than strtof.
bool parse_number(std::string_view text, float* value) {
  size_t at = 0;
  bool negative = false;
  if (at < text.size() && (text[at] == '-' || text[at] == '+')) negative = text[at++] == '-';
  uint64_t digits = 0;
  int exponent = 0, seen = 0;
  bool point = false;
  for (; at < text.size(); ++at) {
    const char c = text[at];
    if (c >= '0' && c <= '9') {
      ++seen;
      if (digits < 100000000000000000ull) {
        digits = digits * 10 + uint64_t(c - '0');
        exponent -= point;
      } else {
        exponent += !point;
      }
    } else if (c == '.' && !point) {
      point = true;
    } else {
      break;
    }
  }
  if (seen == 0) {
    const std::string_view rest = text.substr(at);
    if (rest != "inf" && rest != "Inf" && rest != "infinity") return false;
    *value = negative ? -INFINITY : INFINITY;
    return true;
  }
  if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
    ++at;
    bool minus = false;
    if (at < text.size() && (text[at] == '-' || text[at] == '+')) minus = text[at++] == '-';
    int power = 0, count = 0;
    for (; at < text.size() && text[at] >= '0' && text[at] <= '9' && count < 6; ++at, ++count)
      power = power * 10 + (text[at] - '0');
    if (count == 0) return false;
    exponent += minus ? -power : power;
  }
  if (at != text.size()) return false;
  double result = double(digits);
  if (digits != 0 && exponent != 0)
    result = exponent < 0 && exponent >= -22 ? result / std::pow(10.0, -exponent)
                                             : result * std::pow(10.0, exponent);
  *value = float(negative ? -result : result);
  return true;
}

bool is_power_of_two(uint64_t number) { return number != 0 && (number & (number - 1)) == 0; }

// Whether a header can be that of a file of `size` bytes: no part ends outside of it.
bool can_be(const Header& h, uint64_t size) {
  for (const uint64_t count : {h.arc_slots, h.states, h.words, h.word_slots, h.text_bytes})
    if (count > size) return false;  // so the sizes of the parts do not overflow
  uint64_t sizes[6], end = padded(sizeof(Header));
  part_sizes(h, sizes);
  for (const uint64_t bytes : sizes) end += padded(bytes);
  return std::memcmp(h.magic, kMagic, sizeof kMagic) == 0 && end == size &&
         is_power_of_two(h.arc_slots) && is_power_of_two(h.word_slots) &&
         h.arc_probes <= h.arc_slots && h.word_probes <= h.word_slots && h.begin_state < h.states &&
         h.end_word < h.words;
}

std::string_view trimmed(std::string_view line) {
  while (!line.empty() && (line.back() == '\r' || line.back() == ' ' || line.back() == '\t'))
    line.remove_suffix(1);
  while (!line.empty() && (line.front() == ' ' || line.front() == '\t')) line.remove_prefix(1);
  return line;
}

std::string quoted(std::string_view line) { return "'" + std::string(line.substr(0, 40)) + "'"; }

bool is_unknown(std::string_view word) { return word == "<unk>" || word == "<UNK>"; }

}  // namespace

uint64_t hash_text(std::string_view text) {
  uint64_t hash = 0xCBF29CE484222325ull;
  for (const char c : text) hash = (hash ^ uint8_t(c)) * 0x100000001B3ull;
  return mix(hash);
}

uint32_t Automaton::index(std::string_view name) const {
  if (is_unknown(name)) return kUnknown;
  const uint64_t mask = header.word_slots - 1;
  uint64_t at = hash_text(name) & mask;
  for (uint32_t left = header.word_probes; left > 0; --left, at = (at + 1) & mask) {
    const uint32_t found = word_table[at];
    if (found == kNone) return kUnknown;
    if (word(found) == name) return found;
  }
  return kUnknown;
}

struct ArpaReader::Parts {
  enum class Place { kStart, kCounts, kHeading, kGrams, kEnd, kDone };

  Place place = Place::kStart;
  std::string kept, error;
  std::vector<uint64_t> counts;
  size_t order = 0;   // of the n-grams that come now, 0 before the first
  uint64_t read = 0;  // of them
  uint64_t line_number = 0;
  uint64_t used = 0;

  Automaton model;
  std::vector<Arc> arcs;
  std::vector<float> backoffs{0.0f};
  std::vector<uint32_t> suffixes{0};
  std::vector<bool> extended{true};
  std::vector<uint64_t> text_ends;
  std::vector<uint32_t> word_table;
  std::string text;
  bool has_unknown = false;

  bool fail(const std::string& what) {
    error = what;
    return false;
  }

  void view() {
    model.header.states = backoffs.size();
    model.header.words = text_ends.size();
    model.header.text_bytes = text.size();
    model.arcs = arcs.data();
    model.backoffs = backoffs.data();
    model.suffixes = suffixes.data();
    model.text_ends = text_ends.data();
    model.word_table = word_table.data();
    model.text = text.data();
  }

  bool line(std::string_view whole) {
    ++line_number;
    switch (place) {
      case Place::kStart: {
        const std::string_view content = trimmed(whole);
        if (content.empty() || content.front() == '#') return true;
        if (content != "\\data\\") return fail("is not an ARPA file: it does not begin with \\data\\");
        place = Place::kCounts;
        return true;
      }
      case Place::kCounts:
        return count_line(trimmed(whole));
      case Place::kHeading: {
        const std::string_view content = trimmed(whole);
        if (content.empty()) return true;
        return heading(content);
      }
      case Place::kGrams:
        return gram(whole);
      case Place::kEnd:
      case Place::kDone:
        return true;
    }
    return true;
  }

  bool count_line(std::string_view content) {
    if (content.empty()) return counts.empty() ? true : reserve();
    if (content.front() == '\\')
      return counts.empty() ? fail("is cut short: its header names no n-grams")
                            : reserve() && heading(content);
    const size_t equals = content.find('=');
    const bool begins = content.substr(0, 6) == "ngram " && equals != std::string_view::npos;
    uint64_t number = 0, count = 0;
    if (!begins || !whole_number(trimmed(content.substr(6, equals - 6)), &number) ||
        !whole_number(trimmed(content.substr(equals + 1)), &count) || number != counts.size() + 1)
      return fail("has a line in its header that is none: " + quoted(content));
    if (number > kLongest)
      return fail("has n-grams of more than " + std::to_string(kLongest) + " words");
    if (count > kMostSlots / 4)
      return fail("has a count in its header that cannot be: " + quoted(content));
    counts.push_back(count);
    return true;
  }

  static bool whole_number(std::string_view digits, uint64_t* value) {
    if (digits.empty() || digits.size() > 18) return false;
    *value = 0;
    for (const char c : digits) {
      if (c < '0' || c > '9') return false;
      *value = *value * 10 + uint64_t(c - '0');
    }
    return true;
  }

  // The header is read. Its counts may be wrong, so tables begin small and grow.
  bool reserve() {
    text_ends.reserve(size_t(std::min<uint64_t>(counts[0] + 1, 1 << 20)));
    uint64_t promised = 1;
    for (const uint64_t count : counts) promised += count;
    grow_arcs(slots_for(std::min<uint64_t>(promised, 1 << 20)));
    grow_words(slots_for(std::min<uint64_t>(counts[0] + 1, 1 << 16)));
    add_word("<unk>");
    add_state(0.0f, 0);
    place = Place::kHeading;
    return true;
  }

  void grow_arcs(uint64_t slots) {
    std::vector<Arc> before(slots, Arc{kNone, 0, 0, 0.0f});
    before.swap(arcs);
    model.header.arc_slots = slots;
    model.header.arc_probes = 0;
    model.arcs = arcs.data();
    for (const Arc& arc : before)
      if (arc.state != kNone) place_arc(arc);
  }

  void place_arc(const Arc& arc) {
    const uint64_t mask = model.header.arc_slots - 1;
    uint64_t at = mix(arc_key(arc.state, arc.word)) & mask;
    uint32_t probes = 1;
    for (; arcs[at].state != kNone; at = (at + 1) & mask) ++probes;
    arcs[at] = arc;
    model.header.arc_probes = std::max(model.header.arc_probes, probes);
  }

  void add_arc(const Arc& arc) {
    if ((used + 1) * 3 > model.header.arc_slots * 2) grow_arcs(model.header.arc_slots * 2);
    place_arc(arc);
    ++used;
  }

  void grow_words(uint64_t slots) {
    word_table.assign(slots, kNone);
    model.header.word_slots = slots;
    model.header.word_probes = 0;
    view();
    for (uint32_t i = 0; i < text_ends.size(); ++i) place_word(i);
  }

  void place_word(uint32_t index) {
    const uint64_t mask = model.header.word_slots - 1;
    uint64_t at = hash_text(model.word(index)) & mask;
    uint32_t probes = 1;
    for (; word_table[at] != kNone; at = (at + 1) & mask) ++probes;
    word_table[at] = index;
    model.header.word_probes = std::max(model.header.word_probes, probes);
  }

  uint32_t add_word(std::string_view name) {
    const auto index = uint32_t(text_ends.size());
    text.append(name);
    text_ends.push_back(text.size());
    if ((text_ends.size() + 1) * 3 > model.header.word_slots * 2) {
      grow_words(model.header.word_slots * 2);
    } else {
      view();
      place_word(index);
    }
    return index;
  }

  uint32_t add_state(float backoff, uint32_t suffix) {
    backoffs.push_back(backoff);
    suffixes.push_back(suffix);
    extended.push_back(false);
    return uint32_t(backoffs.size() - 1);
  }

  bool heading(std::string_view content) {
    if (content == "\\end\\" && order == counts.size()) {
      place = Place::kDone;
      return true;
    }
    const std::string wanted =
        order == counts.size() ? "\\end\\" : "\\" + std::to_string(order + 1) + "-grams:";
    if (content != wanted)
      return fail("should go on with " + wanted + " in line " + std::to_string(line_number) +
                  " but has " + quoted(content) + ": its counts are wrong");
    ++order;
    read = 0;
    if (counts[order - 1] > 0) place = Place::kGrams;
    view();
    return true;
  }

  bool gram(std::string_view whole) {
    if (trimmed(whole).empty()) return true;
    if (!whole.empty() && whole.back() == '\r') whole.remove_suffix(1);
    const size_t first = whole.find_first_of("\t ");
    float log_prob = 0.0f, backoff = 0.0f;
    if (first == std::string_view::npos || !parse_number(whole.substr(0, first), &log_prob))
      return bad(whole);
    if (!(log_prob <= 0.0f))
      return fail("has a log-probability above 0 in line " + std::to_string(line_number));
    std::string_view names[kLongest];
    std::string_view rest = whole.substr(first + 1);
    for (size_t i = 0; i < order; ++i) {
      const size_t end = rest.find_first_of("\t ");
      names[i] = rest.substr(0, end);
      if (names[i].empty()) return bad(whole);
      rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
    }
    rest = trimmed(rest);
    if (!rest.empty() && !parse_number(rest, &backoff)) return bad(whole);
    if (!(order == 1 ? unigram(names[0], log_prob, backoff) : longer(names, log_prob, backoff)))
      return false;
    if (++read == counts[order - 1]) place = Place::kHeading;
    return true;
  }

  bool bad(std::string_view line) {
    return fail("promises " + std::to_string(counts[order - 1]) + " " + std::to_string(order) +
                "-grams, but after " + std::to_string(read) + " comes " + quoted(line));
  }

  bool unigram(std::string_view name, float log_prob, float backoff) {
    const bool unknown = is_unknown(name);
    if (unknown ? has_unknown : model.index(name) != kUnknown)
      return fail("has the word " + quoted(name) + " twice");
    const uint32_t word = unknown ? kUnknown : add_word(name);
    has_unknown |= unknown;
    const uint32_t state = unknown ? 1 : add_state(backoff, 0);
    backoffs[state] = backoff;
    add_arc({0, word, state, log_prob});
    return true;
  }

  std::string joined(const std::string_view* names) const {
    std::string text(names[0]);
    for (size_t i = 1; i < order; ++i) text.append(" ").append(names[i]);
    return text;
  }

  bool longer(const std::string_view* names, float log_prob, float backoff) {
    uint32_t context = 0, word = 0;
    for (size_t i = 0; i < order; ++i) {
      word = model.index(names[i]);
      if (word == kUnknown && !is_unknown(names[i]))
        return fail("has in line " + std::to_string(line_number) + " the word " + quoted(names[i]) +
                    " that is not among its 1-grams");
      if (i + 1 == order) break;
      const Arc* arc = model.find(context, word);
      if (arc == nullptr)
        return fail("has in line " + std::to_string(line_number) + " the n-gram '" +
                    joined(names) + "' but not the context of its last word: it is damaged");
      context = arc->target;
    }
    if (model.find(context, word) != nullptr)
      return fail("has one n-gram twice, in line " + std::to_string(line_number));
    uint32_t shorter = suffixes[context];
    const Arc* arc;
    while ((arc = model.find(shorter, word)) == nullptr && shorter != 0)
      shorter = suffixes[shorter];
    const uint32_t suffix = arc == nullptr ? 0 : arc->target;
    extended[context] = true;
    const bool highest = order == counts.size();
    add_arc({context, word, highest ? suffix : add_state(backoff, suffix), log_prob});
    view();
    return true;
  }

  bool finish() {
    if (!kept.empty()) {
      const std::string last = std::move(kept);
      kept.clear();
      if (!line(last)) return false;
    }
    if (place != Place::kDone)
      return fail(counts.empty() ? "is not an ARPA file: it does not begin with \\data\\"
                                 : "does not end with \\end\\: it is cut short");
    for (const char* special : {"<s>", "</s>"})
      if (model.index(special) == kUnknown)
        return fail(std::string("has no ") + special +
                    " in its unigrams: it is not a model of sentences");
    if (!has_unknown) add_arc({0, kUnknown, 1, kMissingUnknown});
    view();
    shorten();
    Header& h = model.header;
    std::memcpy(h.magic, kMagic, sizeof kMagic);
    h.order = counts.size();
    h.ngrams = used;
    h.has_unknown = has_unknown;
    h.end_word = model.index("</s>");
    h.begin_state = model.find(0, model.index("<s>"))->target;
    return true;
  }

  // A history that no longer n-gram extends is replaced by its suffix: no word tells them apart.
  void shorten() {
    std::vector<uint32_t> same(backoffs.size());
    for (uint32_t i = 0; i < same.size(); ++i)  // a suffix has fewer words, so it comes first
      same[i] = i == 0 || extended[i] || backoffs[i] != 0.0f ? i : same[suffixes[i]];
    for (uint32_t& suffix : suffixes) suffix = same[suffix];
    for (Arc& arc : arcs)
      if (arc.state != kNone) arc.target = same[arc.target];
  }
};

ArpaReader::ArpaReader() : parts_(std::make_unique<Parts>()) {}
ArpaReader::~ArpaReader() = default;
const std::string& ArpaReader::error() const { return parts_->error; }

bool ArpaReader::feed(const char* data, size_t size) {
  Parts& parts = *parts_;
  if (!parts.error.empty()) return false;
  size_t begin = 0;
  while (begin < size) {
    const void* found = std::memchr(data + begin, '\n', size - begin);
    if (found == nullptr) break;
    const size_t end = size_t(static_cast<const char*>(found) - data);
    const std::string_view piece(data + begin, end - begin);
    if (parts.kept.empty()) {
      if (!parts.line(piece)) return false;
    } else {
      parts.kept.append(piece);
      const std::string whole = std::move(parts.kept);
      parts.kept.clear();
      if (!parts.line(whole)) return false;
    }
    begin = end + 1;
  }
  parts.kept.append(data + begin, size - begin);
  return true;
}

bool ArpaReader::write(const char* path) {
  Parts& parts = *parts_;
  if (!parts.error.empty() || !parts.finish()) return false;
  std::FILE* file = std::fopen(path, "wb");
  if (file == nullptr) return parts.fail(std::string("cannot be cached: ") + std::strerror(errno));
  uint64_t sizes[6];
  part_sizes(parts.model.header, sizes);
  const void* starts[6] = {parts.arcs.data(),      parts.backoffs.data(),   parts.suffixes.data(),
                           parts.text_ends.data(), parts.word_table.data(), parts.text.data()};
  const char zeros[64] = {};
  bool fine = std::fwrite(&parts.model.header, sizeof(Header), 1, file) == 1;
  fine = fine && std::fwrite(zeros, padded(sizeof(Header)) - sizeof(Header), 1, file) <= 1;
  for (int i = 0; i < 6 && fine; ++i) {
    if (sizes[i] > 0) fine = std::fwrite(starts[i], sizes[i], 1, file) == 1;
    const uint64_t gap = padded(sizes[i]) - sizes[i];
    if (fine && gap > 0) fine = std::fwrite(zeros, gap, 1, file) == 1;
  }
  const int wrote = errno;
  if (std::fclose(file) != 0 || !fine)
    return parts.fail(std::string("cannot be cached: ") + std::strerror(wrote));
  return true;
}

std::unique_ptr<MappedAutomaton> MappedAutomaton::open(const char* path, std::string* error) {
  const int file = ::open(path, O_RDONLY);
  if (file < 0) {
    *error = std::strerror(errno);
    return nullptr;
  }
  struct stat status{};
  if (::fstat(file, &status) != 0) {
    *error = std::strerror(errno);
    ::close(file);
    return nullptr;
  }
  std::unique_ptr<MappedAutomaton> mapped(new MappedAutomaton());
  mapped->size_ = size_t(status.st_size);
  void* memory = mapped->size_ < padded(sizeof(Header))
                     ? MAP_FAILED
                     : ::mmap(nullptr, mapped->size_, PROT_READ, MAP_SHARED, file, 0);
  ::close(file);
  if (memory == MAP_FAILED) {
    *error = "it is cut short";
    return nullptr;
  }
  mapped->memory_ = memory;
  const char* bytes = static_cast<const char*>(memory);
  Header& h = mapped->model_.header;
  std::memcpy(&h, bytes, sizeof h);
  if (!can_be(h, mapped->size_)) {
    *error = "it is damaged";
    return nullptr;
  }
  uint64_t sizes[6], at = padded(sizeof(Header));
  part_sizes(h, sizes);
  const char* starts[6];
  for (int i = 0; i < 6; ++i) {
    starts[i] = bytes + at;
    at += padded(sizes[i]);
  }
  mapped->model_.arcs = reinterpret_cast<const Arc*>(starts[0]);
  mapped->model_.backoffs = reinterpret_cast<const float*>(starts[1]);
  mapped->model_.suffixes = reinterpret_cast<const uint32_t*>(starts[2]);
  mapped->model_.text_ends = reinterpret_cast<const uint64_t*>(starts[3]);
  mapped->model_.word_table = reinterpret_cast<const uint32_t*>(starts[4]);
  mapped->model_.text = starts[5];
  return mapped;
}

MappedAutomaton::~MappedAutomaton() {
  if (memory_ != nullptr) ::munmap(memory_, size_);
}

}  // namespace w2v2
