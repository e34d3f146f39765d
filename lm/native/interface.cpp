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

using Batch = std::vector<std::vector<Found>>;

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
  return int32_t((*static_cast<const Batch*>(batch))[size_t(utterance)].size());
}

// scores: total, acoustic, language model. symbols, words: [T]. Returns the entry.
int32_t w2v2_hypothesis(const void* batch, int32_t utterance, int32_t rank, double* scores,
                        int32_t* symbols, int32_t* words) {
  const Found& found = (*static_cast<const Batch*>(batch))[size_t(utterance)][size_t(rank)];
  scores[0] = found.score;
  scores[1] = found.acoustic;
  scores[2] = found.lm;
  std::copy(found.symbols.begin(), found.symbols.end(), symbols);
  std::copy(found.words.begin(), found.words.end(), words);
  return found.entry;
}

void w2v2_free(void* batch) { delete static_cast<Batch*>(batch); }

}  // extern "C"
