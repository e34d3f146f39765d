// An n-gram model as a backoff automaton: one file of flat arrays that is mapped into memory.
//
// States are contexts: 0 is the empty one, 1 + w that of the single word w, then longer n-grams in
// the order of the ARPA file. An arc (state, word) holds log10 p(word | state) and the state that
// follows. A state without an arc for a word adds its backoff weight and asks the state of the next
// shorter context. Words are numbered in the order of the file, <unk> first.
//
// A file may be damaged after its checksum was compared. So every look-up is bounded: whatever the
// arrays hold, it reads inside them and ends, if with a wrong score.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace w2v2 {

constexpr uint32_t kUnknown = 0;
constexpr uint32_t kNone = 0xFFFFFFFFu;
constexpr int kLongest = 15;  // words in an n-gram
// log10 p of unknown words in a model without <unk>, as in KenLM.
constexpr float kMissingUnknown = -100.0f;

struct Arc {
  uint32_t state;  // kNone: an empty slot
  uint32_t word;
  uint32_t target;
  float log_prob;
};

struct Header {
  char magic[8];
  uint64_t order;
  uint64_t words;
  uint64_t states;
  uint64_t arc_slots;   // a power of two
  uint64_t word_slots;  // a power of two
  uint64_t text_bytes;
  uint64_t ngrams;
  uint32_t begin_state;
  uint32_t end_word;
  uint32_t has_unknown;
  uint32_t checksum;    // of the file but these four bytes; lm/ngram/checksum.py writes it
  uint32_t arc_probes;  // slots after which an arc that is there has been found
  uint32_t word_probes;
};

inline uint64_t mix(uint64_t key) {
  key ^= key >> 32;
  key *= 0x9E3779B97F4A7C15ull;
  key ^= key >> 29;
  key *= 0xBF58476D1CE4E5B9ull;
  return key ^ (key >> 32);
}

inline uint64_t arc_key(uint32_t state, uint32_t word) { return (uint64_t(state) << 32) | word; }

// Where the parts of a model lie.
struct Automaton {
  Header header{};
  const Arc* arcs = nullptr;             // [arc_slots], open addressing
  const float* backoffs = nullptr;       // [states], log10
  const uint32_t* suffixes = nullptr;    // [states], the state of the next shorter context
  const uint64_t* text_ends = nullptr;   // [words]
  const uint32_t* word_table = nullptr;  // [word_slots]
  const char* text = nullptr;            // all words, concatenated

  const Arc* find(uint32_t state, uint32_t word) const {
    const uint64_t mask = header.arc_slots - 1;
    uint64_t at = mix(arc_key(state, word)) & mask;
    for (uint32_t left = header.arc_probes; left > 0; --left, at = (at + 1) & mask) {
      const Arc& arc = arcs[at];
      if (arc.state == kNone) return nullptr;
      if (arc.state == state && arc.word == word) return &arc;
    }
    return nullptr;
  }

  // log10 p(word | state), summed in float as KenLM does; sets `next` to the state that follows.
  float score(uint32_t state, uint32_t word, uint32_t* next) const {
    float weights[kLongest + 1];
    int count = 0;
    while (state < header.states && count <= kLongest) {
      if (const Arc* arc = find(state, word)) {
        *next = arc->target;
        float total = arc->log_prob;
        while (count > 0) total += weights[--count];
        return total;
      }
      weights[count++] = backoffs[state];
      state = suffixes[state];
    }
    *next = 0;  // only in a damaged file: every word has an arc from the empty context
    return kMissingUnknown;
  }

  std::string_view word(uint32_t index) const {
    if (index >= header.words) return {};
    const uint64_t begin = index == 0 ? 0 : text_ends[index - 1], end = text_ends[index];
    if (begin > end || end > header.text_bytes) return {};
    return {text + begin, size_t(end - begin)};
  }

  uint32_t index(std::string_view name) const;
};

uint64_t hash_text(std::string_view text);

// Reads an ARPA file that comes in pieces of any size.
class ArpaReader {
 public:
  ArpaReader();
  ~ArpaReader();
  bool feed(const char* data, size_t size);  // false: see error()
  bool write(const char* path);              // after the last piece
  const std::string& error() const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

// A model file mapped into memory.
class MappedAutomaton {
 public:
  static std::unique_ptr<MappedAutomaton> open(const char* path, std::string* error);
  ~MappedAutomaton();
  const Automaton& model() const { return model_; }

 private:
  MappedAutomaton() = default;
  Automaton model_;
  void* memory_ = nullptr;
  size_t size_ = 0;
};

}  // namespace w2v2
