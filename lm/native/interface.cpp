// The functions that Python calls through ctypes, which releases the interpreter's lock meanwhile.

#include <algorithm>
#include <atomic>
#include <cstring>
#include <exception>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "automaton.h"
#include "kenlm_keys.h"
#include "lattice.h"
#include "risk.h"
#include "search.h"

using namespace w2v2;

namespace {

thread_local std::string last_error;

template <class Work>
auto guarded(Work work) -> decltype(work()) {
  try {
    return work();
  } catch (const std::exception& error) {
    last_error = error.what();
    return {};
  }
}

using Batch = std::vector<Result>;

}  // namespace

extern "C" {

const char* w2v2_error() { return last_error.c_str(); }

void* w2v2_arpa_new() {
  return guarded([] { return new ArpaReader(); });
}

int w2v2_arpa_feed(void* reader, const char* data, size_t size) {
  return guarded([&] {
    auto& arpa = *static_cast<ArpaReader*>(reader);
    if (arpa.feed(data, size)) return 1;
    last_error = arpa.error();
    return 0;
  });
}

int w2v2_arpa_write(void* reader, const char* path) {
  return guarded([&] {
    auto& arpa = *static_cast<ArpaReader*>(reader);
    if (arpa.write(path)) return 1;
    last_error = arpa.error();
    return 0;
  });
}

void w2v2_arpa_free(void* reader) { delete static_cast<ArpaReader*>(reader); }

void* w2v2_lm_open(const char* path) {
  return guarded([&]() -> void* { return MappedAutomaton::open(path, &last_error).release(); });
}

void w2v2_lm_close(void* lm) { delete static_cast<MappedAutomaton*>(lm); }

// facts: order, words, states, n-grams, first state, index of </s>, whether <unk> is in the model.
void w2v2_lm_facts(const void* lm, uint64_t* facts) {
  const Header& h = static_cast<const MappedAutomaton*>(lm)->model().header;
  const uint64_t all[] = {h.order,       h.words,    h.states,     h.ngrams,
                          h.begin_state, h.end_word, h.has_unknown};
  std::copy(std::begin(all), std::end(all), facts);
}

// text: `count` words, each ended by a line feed; none holds a line feed or a NUL.
void w2v2_lm_index(const void* lm, const char* text, uint64_t count, uint32_t* indices) {
  const Automaton& model = static_cast<const MappedAutomaton*>(lm)->model();
  for (uint64_t i = 0; i < count; ++i) {
    const char* end = std::strchr(text, '\n');
    indices[i] = model.index({text, size_t(end - text)});
    text = end + 1;
  }
}

// All arrays: [count]. scores: log10 p(word | state); after: the state that follows.
void w2v2_lm_score(const void* lm, const uint32_t* states, const uint32_t* words, uint64_t count,
                   float* scores, uint32_t* after) {
  const Automaton& model = static_cast<const MappedAutomaton*>(lm)->model();
  for (uint64_t i = 0; i < count; ++i) scores[i] = model.score(states[i], words[i], &after[i]);
}

// See `join_keys` for the arguments. The result is freed with w2v2_keys_free.
void* w2v2_keys_join(const void* entries, uint64_t stride, uint64_t buckets,
                     const uint64_t* suffix_keys, const uint64_t* suffix_ends,
                     const uint64_t* first_words, const uint64_t* context_ends, uint64_t groups) {
  return guarded([&]() -> void* {
    return new std::vector<Joined>(join_keys(static_cast<const char*>(entries), stride, buckets,
                                             suffix_keys, suffix_ends, first_words, context_ends,
                                             groups));
  });
}

uint64_t w2v2_keys_count(const void* joined) {
  return static_cast<const std::vector<Joined>*>(joined)->size();
}

// All arrays: [count].
void w2v2_keys_copy(const void* joined, uint32_t* suffixes, uint32_t* contexts, uint64_t* slots) {
  for (const Joined& pair : *static_cast<const std::vector<Joined>*>(joined)) {
    *suffixes++ = pair.suffix;
    *contexts++ = pair.context;
    *slots++ = pair.slot;
  }
}

void w2v2_keys_free(void* joined) { delete static_cast<std::vector<Joined>*>(joined); }

// lm: null for none. lm_words, bonuses: [words]; bonuses may be null. Rest: `LexiconTrie::build`.
void* w2v2_engine_new(const void* lm, const uint32_t* lm_words, uint64_t words,
                      const float* bonuses, const int32_t* symbols, const uint64_t* ends,
                      const int32_t* spelled, const float* scores, uint64_t spellings) {
  return guarded([&]() -> void* {
    auto engine = std::make_unique<Engine>();
    engine->model = lm == nullptr ? nullptr : &static_cast<const MappedAutomaton*>(lm)->model();
    engine->lm_words.assign(lm_words, lm_words + words);
    if (bonuses != nullptr) engine->bonuses.assign(bonuses, bonuses + words);
    engine->trie = LexiconTrie::build(symbols, ends, spelled, scores, spellings, bonuses);
    return engine.release();
  });
}

// Favour `count` phrases, in place of the bonuses, which the trie goes on to look ahead by. words:
// of all phrases, concatenated; ends: where each ends; phrase_bonuses: of each. -> 1; 0: no memory.
int w2v2_engine_favour(void* engine, const int32_t* words, const uint64_t* ends,
                       const float* phrase_bonuses, uint64_t count) {
  return guarded([&] {
    Engine& made = *static_cast<Engine*>(engine);
    made.phrases = Phrases::build(words, ends, phrase_bonuses, count);
    std::fill(made.bonuses.begin(), made.bonuses.end(), 0.0f);
    return 1;
  });
}

// Let no word's score by the language model fall below its floor, [words]. -> 1; 0: no memory.
int w2v2_engine_raise(void* engine, const float* floors, uint64_t words) {
  return guarded([&] {
    static_cast<Engine*>(engine)->floors.assign(floors, floors + words);
    return 1;
  });
}

// Add a second language model, which must outlive the engine, or weigh it anew. lm_words: [words],
// its index of each; ratio: its weight where that of the first is 1. -> 1; 0: no memory.
int w2v2_engine_join(void* engine, const void* lm, const uint32_t* lm_words, uint64_t words,
                     double ratio) {
  return guarded([&] {
    Engine& made = *static_cast<Engine*>(engine);
    made.second_words.assign(lm_words, lm_words + words);
    made.second_ratio = ratio;
    made.second = &static_cast<const MappedAutomaton*>(lm)->model();
    return 1;
  });
}

void w2v2_engine_free(void* engine) { delete static_cast<Engine*>(engine); }

// emissions: concatenated utterances, each (frames, symbols). options: one for each of them. An
// utterance is searched by one thread; `threads` work at a time. contexts: one for each utterance,
// or null where nothing was said before any. The result is freed with w2v2_free.
void* w2v2_search(const void* engine, const Options* options, const float* emissions,
                  const int32_t* frames, int32_t utterances, int32_t symbols, int32_t threads,
                  const Context* contexts) {
  return guarded([&]() -> void* {
    std::vector<size_t> begins(size_t(utterances) + 1, 0);
    for (int32_t i = 0; i < utterances; ++i)
      begins[size_t(i) + 1] = begins[size_t(i)] + size_t(frames[i]) * size_t(symbols);
    auto batch = std::make_unique<Batch>(size_t(utterances));
    std::atomic<int32_t> next{0};
    std::atomic<bool> failed{false};
    const auto work = [&] {
      try {
        for (int32_t i; !failed && (i = next++) < utterances;)
          (*batch)[size_t(i)] = search(*static_cast<const Engine*>(engine), options[i],
                                       emissions + begins[size_t(i)], frames[i], symbols,
                                       contexts == nullptr ? Context{} : contexts[i]);
      } catch (const std::exception&) {  // in a search only memory can run out
        failed = true;
      }
    };
    std::vector<std::thread> others;
    try {
      for (int32_t i = 1; i < std::min(threads, utterances); ++i) others.emplace_back(work);
    } catch (const std::exception&) {
      // The system gives no more threads: those that there are do the work.
    }
    work();
    for (std::thread& other : others) other.join();
    if (failed) throw std::bad_alloc();
    return batch.release();
  });
}

int32_t w2v2_found(const void* batch, int32_t utterance) {
  return int32_t((*static_cast<const Batch*>(batch))[size_t(utterance)].found.size());
}

// scores: total, acoustic, language model. symbols, words: [T]. Returns the entry.
int32_t w2v2_hypothesis(const void* batch, int32_t utterance, int32_t rank, double* scores,
                        int32_t* symbols, int32_t* words) {
  const Found& found = (*static_cast<const Batch*>(batch))[size_t(utterance)].found[size_t(rank)];
  scores[0] = found.score;
  scores[1] = found.acoustic;
  scores[2] = found.lm;
  std::copy(found.symbols.begin(), found.symbols.end(), symbols);
  std::copy(found.words.begin(), found.words.end(), words);
  return found.entry;
}

// sizes: nodes and arcs of the lattice of an utterance; 0, 0 where none was asked for.
void w2v2_lattice_sizes(const void* batch, int32_t utterance, uint64_t* sizes) {
  const WordLattice& lattice = (*static_cast<const Batch*>(batch))[size_t(utterance)].lattice;
  sizes[0] = lattice.times.size();
  sizes[1] = lattice.arcs.size();
}

// times: [nodes]. ends: [arcs, 2], nodes. words: [arcs]; spelled: [arcs], of the unknown word the
// trie node that its symbols lead to. scores: [arcs, 3]: total, acoustic, language model.
void w2v2_lattice(const void* batch, int32_t utterance, int32_t* times, uint32_t* ends,
                  int32_t* words, uint32_t* spelled, double* scores) {
  const WordLattice& lattice = (*static_cast<const Batch*>(batch))[size_t(utterance)].lattice;
  std::copy(lattice.times.begin(), lattice.times.end(), times);
  for (const WordArc& arc : lattice.arcs) {
    *ends++ = arc.from;
    *ends++ = arc.to;
    *words++ = arc.word;
    *spelled++ = arc.spelled;
    *scores++ = arc.score;
    *scores++ = arc.acoustic;
    *scores++ = arc.lm;
  }
}

// The symbols that lead to a node of the trie, into `symbols`, of room for `most`. Returns how many.
int32_t w2v2_spelling(const void* engine, uint32_t node, int32_t* symbols, int32_t most) {
  const LexiconTrie& trie = static_cast<const Engine*>(engine)->trie;
  int32_t count = 0;
  for (; node != 0 && count < most; node = trie.parent(node)) symbols[count++] = trie.symbols[node];
  std::reverse(symbols, symbols + count);
  return count;
}

// from, to, scores: [arcs], in the order of `to`. found: [arcs], see `posteriors`.
int w2v2_posteriors(const uint32_t* from, const uint32_t* to, const double* scores, uint64_t arcs,
                    uint64_t nodes, double scale, double* found) {
  return guarded([&] {
    posteriors({size_t(arcs), from, to, scores}, uint32_t(nodes), scale, found);
    return 1;
  });
}

// labels: [arcs], the word of each arc, -1 for none; words: [count]; else as w2v2_posteriors.
// risk: the expected word errors of `words`. found: of room for `arcs` + `count` words,
// those with few errors
// near `words`. Returns how many, or -1.
int32_t w2v2_least_risk(const uint32_t* from, const uint32_t* to, const double* scores,
                        const int32_t* labels, uint64_t arcs, uint64_t nodes, double scale,
                        const int32_t* words, int32_t count, double* risk, int32_t* found) {
  const int32_t done = guarded([&] {
    const Arcs all{size_t(arcs), from, to, scores};
    Risk risks(all, labels, uint32_t(nodes), scale);
    const std::vector<int32_t> given(words, words + count);
    *risk = risks.of(given);
    if (found == nullptr) return 1;
    std::vector<int32_t> best = risks.lowered(given);
    if (best.size() > arcs + given.size()) best = given;  // more than `found` has room for
    std::copy(best.begin(), best.end(), found);
    return int32_t(best.size()) + 1;
  });
  return done - 1;
}

void w2v2_free(void* batch) { delete static_cast<Batch*>(batch); }

// A stream over an engine that outlives it, and its functions: see `Stream`.
void* w2v2_stream_new(const void* engine, const Options* options, int32_t symbols) {
  return guarded([&]() -> void* {
    return std::make_unique<Stream>(*static_cast<const Engine*>(engine), *options, symbols)
        .release();
  });
}

void w2v2_stream_free(void* stream) { delete static_cast<Stream*>(stream); }

// -> frames that are settled; -1 where memory ran out.
int32_t w2v2_stream_advance(void* stream, const float* emissions, int32_t frames, int32_t behind,
                            int32_t* symbols, int32_t* words) {
  int32_t settled = -1;
  guarded([&]() -> void* {
    settled = static_cast<Stream*>(stream)->advance(emissions, frames, behind, symbols, words);
    return nullptr;
  });
  return settled;
}

// -> 0; -1 where memory ran out.
int32_t w2v2_stream_end(void* stream, int32_t* symbols, int32_t* words) {
  int32_t failed = -1;
  guarded([&]() -> void* {
    static_cast<Stream*>(stream)->end_sentence(symbols, words);
    failed = 0;
    return nullptr;
  });
  return failed;
}

}  // extern "C"
