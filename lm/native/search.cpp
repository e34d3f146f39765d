#include "search.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <queue>
#include <tuple>
#include <unordered_set>
#include <utility>

namespace w2v2 {
namespace {

constexpr double kMinusInfinity = -std::numeric_limits<double>::infinity();
// The bound is computed anew when there are this many times more candidates than the beam holds.
constexpr size_t kRecut = 2;
// Answers of the language model that a stream keeps.
constexpr size_t kMostLookups = size_t(1) << 20;

// A hash table from 64-bit keys to indices, open addressing. Raising the generation empties it.
class Table {
 public:
  explicit Table(size_t slots) : slots_(slots) {}

  void clear() {
    ++generation_;
    used_ = 0;
  }

  // The value stored for `key`; where there is none, `value` is stored and returned.
  uint32_t put(uint64_t key, uint32_t value) {
    if ((used_ + 1) * 2 > slots_.size()) grow();
    const size_t mask = slots_.size() - 1;
    for (size_t at = mix(key) & mask;; at = (at + 1) & mask) {
      Slot& slot = slots_[at];
      if (slot.generation != generation_) {
        slot = {key, generation_, value};
        ++used_;
        return value;
      }
      if (slot.key == key) return slot.value;
    }
  }

 private:
  struct Slot {
    uint64_t key = 0;
    uint32_t generation = 0;
    uint32_t value = 0;
  };

  void grow() {
    std::vector<Slot> before(slots_.size() * 2);
    before.swap(slots_);
    used_ = 0;
    for (const Slot& slot : before)
      if (slot.generation == generation_) put(slot.key, slot.value);
  }

  std::vector<Slot> slots_;
  uint32_t generation_ = 1;
  size_t used_ = 0;
};

// What the language models and the phrases know of the words so far, as a number, its `history`. By
// state it is the model's state, or with a second model or phrases a pair of numbers. Else it is a
// node of a tree of words: node 0 has none, a child adds a word. Each continuation is looked up
// once.
class Histories {
 public:
  struct Said {
    uint32_t history;
    float score;  // of the word that was said, by both models
    float bonus;  // by the phrases
  };

  Histories(const Engine& engine, bool by_state)
      : engine_(engine), by_state_(by_state), known_(1 << 14) {
    const Known begin{begin_of(engine.model), begin_of(engine.second), 0};
    entries_.push_back({begin, 0.0f, 0.0f});
    first_ = by_state_ ? number(begin) : 0;
  }

  uint32_t first() const { return first_; }

  // By state what was looked up is only kept to be quick: forget it where it is much.
  void limit() {
    if (!by_state_ || entries_.size() < kMostLookups) return;
    known_.clear();
    entries_.resize(1);
  }

  // What follows when `word` is said after `history`.
  Said after(uint32_t history, int32_t word) {
    const auto fresh = uint32_t(entries_.size());
    const uint32_t found = known_.put((uint64_t(history) << 32) | uint32_t(word), fresh);
    if (found == fresh) {
      const Known before = known(history);
      Entry entry{{0, 0, 0}, 0.0f, 0.0f};
      if (engine_.model != nullptr)
        entry.score = engine_.model->score(before.state, engine_.lm_words[size_t(word)],
                                           &entry.after.state);
      if (engine_.second != nullptr)
        entry.score += beside(engine_.second->score(
            before.second, engine_.second_words[size_t(word)], &entry.after.second));
      if (!engine_.floors.empty())
        entry.score = std::max(entry.score, engine_.floors[size_t(word)]);
      const Phrases::Step step = engine_.phrases.after(before.phrase, word);
      entry.after.phrase = step.node;
      entry.bonus = step.bonus;
      entries_.push_back(entry);
    }
    const Entry& entry = entries_[found];
    return {by_state_ ? number(entry.after) : found, entry.score, entry.bonus};
  }

  // What the end of the sentence adds: by the models, and by the phrases.
  float end_score(uint32_t history) const {
    const Known here = known(history);
    const float first = end_of(engine_.model, here.state);
    if (engine_.second == nullptr) return first;
    return first + beside(end_of(engine_.second, here.second));
  }
  float end_bonus(uint32_t history) const { return engine_.phrases.end(known(history).phrase); }

 private:
  // The states of the models, and the phrases' node.
  struct Known {
    uint32_t state, second, phrase;
  };
  struct Entry {
    Known after;
    float score, bonus;
  };

  // Pairs of numbers, each of which has a number.
  class Pairs {
   public:
    uint32_t number(uint32_t first, uint32_t second) {
      const auto fresh = uint32_t(pairs_.size());
      const uint32_t found = numbers_.put((uint64_t(first) << 32) | second, fresh);
      if (found == fresh) pairs_.emplace_back(first, second);
      return found;
    }
    const std::pair<uint32_t, uint32_t>& operator[](uint32_t number) const {
      return pairs_[number];
    }

   private:
    Table numbers_{1 << 10};
    std::vector<std::pair<uint32_t, uint32_t>> pairs_;
  };

  // What the second model's score counts beside the first's.
  float beside(float score) const { return float(engine_.second_ratio * double(score)); }

  static uint32_t begin_of(const Automaton* model) {
    return model == nullptr ? 0 : model->header.begin_state;
  }
  static float end_of(const Automaton* model, uint32_t state) {
    uint32_t unused;
    return model == nullptr ? 0.0f : model->score(state, model->header.end_word, &unused);
  }

  Known known(uint32_t history) const {
    if (!by_state_) return entries_[history].after;
    Known found{history, 0, 0};
    if (!engine_.phrases.empty())
      std::tie(found.state, found.phrase) = with_phrases_[found.state];
    if (engine_.second != nullptr) std::tie(found.state, found.second) = of_models_[found.state];
    return found;
  }

  // The number of what is known; with one model and no phrases the model's state.
  uint32_t number(const Known& known) {
    uint32_t found = known.state;
    if (engine_.second != nullptr) found = of_models_.number(found, known.second);
    if (!engine_.phrases.empty()) found = with_phrases_.number(found, known.phrase);
    return found;
  }

  const Engine& engine_;
  const bool by_state_;
  Table known_;  // (history, word) -> a place in `entries_`
  std::vector<Entry> entries_;
  Pairs of_models_;     // states of the two models
  Pairs with_phrases_;  // what the models know, and the phrases' node
  uint32_t first_ = 0;
};

struct Hypothesis {
  double score, acoustic, lm;  // the objective; sums of log-probabilities, unweighted
  uint32_t history, node;
  int32_t symbol;
  int32_t word;      // the word that ended on this frame, else -1
  uint32_t parent;   // in the trace: the parent's place for a candidate, its own once it is kept
  bool after_blank;  // whether the last frame was a blank
};

// A candidate that was merged into a better one. They agree in the frame's symbol.
struct Loser {
  double score, acoustic, lm;
  uint32_t parent;
  int32_t word;
  uint32_t next;  // the next one that lost to the same candidate, or kNone
};

// A way back from the end that is not walked yet: it goes on at `place`.
struct Way {
  double score, acoustic, lm;  // of the whole path, if the rest is the best there is
  uint32_t place;              // in the trace
  uint32_t words;              // the sequence of words that it has passed
  uint32_t end;                // where it began: a place in `ends_`
  uint32_t turn;               // its last detour: a place in `turns_`, or kNone
  uint32_t steps;              // how many steps are left
  uint64_t order;              // of equal scores the earlier way is walked first

  bool operator<(const Way& other) const {
    return score != other.score ? score < other.score : order > other.order;
  }
};

// A detour that a way took on a step, and the one that it took before, on a later step.
struct Turn {
  uint32_t step;
  size_t detour;
  uint32_t before;
};

// What `lost` has less than `best`; of two impossible ones, at minus infinity, nothing.
float less(double best, double lost) { return best == lost ? 0.0f : float(best - lost); }

class Decoder {
 public:
  Decoder(const Engine& engine, const Options& options, int32_t symbols, const Context& context)
      : engine_(engine),
        trie_(engine.trie),
        options_(options),
        context_(context),
        symbols_(symbols),
        histories_(engine, options.by_state != 0),
        listed_(options.by_state != 0 && options.nbest > 1),
        lattice_(listed_ || options.lattice != 0),
        merged_(size_t(1) << 12),
        bonuses_(!engine.trie.best_bonus.empty()) {}

  Result run(const float* emissions, int32_t frames) {
    begin();
    ways_.trace.reserve(1 + size_t(frames) * std::min<size_t>(size_t(options_.beam), 4096));
    for (int32_t t = 0; t < frames && !beam_.empty();) {
      const float* frame = emissions + size_t(t) * size_t(symbols_);
      ways_.first_place.push_back(uint32_t(ways_.trace.size()));
      if (double(frame[options_.blank]) >= options_.skip_blank) {
        t = blanks(emissions, t, frames);
      } else {
        step(frame);
        ++t;
      }
      ways_.times.push_back(t);
    }
    finish();
    Result result;
    result.found = listed_ ? best_ways() : results();
    if (options_.lattice)
      result.lattice =
          word_lattice(ways_, trie_, options_.unknown_word, frames, options_.lattice_beam);
    return result;
  }

  // What follows is for a stream: a search without a lattice whose frames come bit by bit.
  void advance(const float* emissions, int32_t frames) {
    if (ways_.trace.empty()) begin();
    histories_.limit();
    for (int32_t t = 0; t < frames && !beam_.empty(); ++t)
      step(emissions + size_t(t) * size_t(symbols_));
    pending_ += uint32_t(frames);
  }

  // The best path through the frames that are pending, each array [pending]; -> how many of the
  // first ones are settled, which are then pending no more. Settled is what all hypotheses agree
  // on. Those that disagree with the best about a frame before the last `behind` are dropped.
  int32_t settle(uint32_t behind, int32_t* symbols, int32_t* words) {
    if (beam_.empty()) return 0;
    const auto best = std::max_element(
        beam_.begin(), beam_.end(),
        [](const Hypothesis& a, const Hypothesis& b) { return a.score < b.score; });
    write_path(best->parent, symbols, words);
    if (pending_ > behind) {
      const uint32_t root = ancestor(best->parent, behind);
      beam_.erase(std::remove_if(beam_.begin(), beam_.end(),
                                 [&](const Hypothesis& h) {
                                   return ancestor(h.parent, behind) != root;
                                 }),
                  beam_.end());
    }
    // The places of the trace that are on a path, from the last frame back to where they are one.
    std::vector<std::vector<uint32_t>> frames(1);
    for (const Hypothesis& h : beam_) frames[0].push_back(h.parent);
    distinct(frames[0]);
    while (frames.back().size() > 1) {
      std::vector<uint32_t> before;
      for (const uint32_t place : frames.back()) before.push_back(ways_.trace[place].parent);
      distinct(before);
      frames.push_back(std::move(before));
    }
    const auto left = uint32_t(frames.size() - 1);
    const uint32_t settled = pending_ - left;
    if (settled > 0) keep_pending(frames);
    pending_ = left;
    return int32_t(settled);
  }

  // End the sentence, and begin anew. The arrays are [pending]: all of it is settled.
  void end_sentence(int32_t* symbols, int32_t* words) {
    if (!beam_.empty()) {
      finish();
      if (!beam_.empty()) write_path(beam_[0].parent, symbols, words);
    }
    beam_.clear();
    ways_.trace.clear();
    pending_ = 0;
  }

 private:
  static void distinct(std::vector<uint32_t>& places) {
    std::sort(places.begin(), places.end());
    places.erase(std::unique(places.begin(), places.end()), places.end());
  }

  uint32_t ancestor(uint32_t place, uint32_t frames) const {
    for (; frames > 0; --frames) place = ways_.trace[place].parent;
    return place;
  }

  void write_path(uint32_t place, int32_t* symbols, int32_t* words) const {
    for (size_t t = pending_; t-- > 0; place = ways_.trace[place].parent) {
      symbols[t] = ways_.trace[place].symbol;
      words[t] = ways_.trace[place].word;
    }
  }

  // Drop the trace before the place where all paths meet, and what is on no path. frames: the
  // places that stay, last frame first, each frame's in order.
  void keep_pending(const std::vector<std::vector<uint32_t>>& frames) {
    std::vector<Step> kept;
    size_t before = 0;  // where the places of the frame before begin in `kept`
    for (size_t frame = frames.size(); frame-- > 0;) {
      const size_t begin = kept.size();
      for (const uint32_t place : frames[frame]) {
        Step step = ways_.trace[place];
        if (begin > 0) step.parent = uint32_t(before + rank(frames[frame + 1], step.parent));
        kept.push_back(step);
      }
      before = begin;
    }
    kept[0].parent = 0;
    for (Hypothesis& h : beam_) h.parent = uint32_t(before + rank(frames[0], h.parent));
    ways_.trace.swap(kept);
    ways_.first_detour.assign(1, 0);
  }

  static size_t rank(const std::vector<uint32_t>& places, uint32_t place) {
    return size_t(std::lower_bound(places.begin(), places.end(), place) - places.begin());
  }

  // One hypothesis for each entry, in silence; without entries one that has said nothing.
  void begin() {
    const auto entries = uint32_t(std::max(context_.entries, 1));
    for (uint32_t i = 0; i < entries; ++i) {
      uint32_t history = histories_.first();
      const uint64_t end = context_.entries == 0 ? 0 : context_.ends[i];
      for (uint64_t at = i == 0 ? 0 : context_.ends[i - 1]; at < end; ++at)
        history = histories_.after(history, context_.words[at]).history;
      const double score = context_.entries == 0 ? 0.0 : context_.scores[i];
      beam_.push_back({score, 0.0, 0.0, history, 0, options_.silence, -1, i, false});
      ways_.trace.push_back({i, options_.silence, -1});
      if (options_.lattice) ways_.reached.push_back({score, 0.0, 0.0, 0});
    }
    ways_.first_detour.assign(entries + 1, 0);
    ways_.first_place = {0};
    ways_.times = {0};
  }

  // The score of an entry, which is none of the frames'.
  double before(uint32_t entry) const {
    return context_.entries == 0 ? 0.0 : context_.scores[entry];
  }

  // Take the frames from `t` on whose blank is almost certain in one step: all of them are blank.
  // Returns the frame after them.
  int32_t blanks(const float* emissions, int32_t t, int32_t frames) {
    double sum = 0.0;
    for (; t < frames; ++t) {
      const float blank = emissions[size_t(t) * size_t(symbols_) + size_t(options_.blank)];
      if (!(double(blank) >= options_.skip_blank)) break;
      sum += blank;
    }
    begin_candidates();
    for (const Hypothesis& from : beam_)
      add({from.score + sum, from.acoustic + sum, from.lm, from.history, from.node, options_.blank,
           -1, from.parent, true});
    keep();
    return t;
  }

  // One frame, (V,) log-probabilities. Cheap candidates first: they raise the bound, and words that
  // fall below it never ask the language model.
  void step(const float* frame) {
    begin_candidates();
    limit_symbols(frame);
    for (const Hypothesis& from : beam_) stay(from, frame);
    for (const Hypothesis& from : beam_) children(from, frame);
    if (candidates_.size() > size_t(options_.beam)) raise_bound();
    for (const Hypothesis& from : beam_) words(from, frame);
    keep();
  }

  // Choose the symbols that may lead deeper on this frame: the likeliest `beam_tokens`.
  void limit_symbols(const float* frame) {
    limited_ = options_.beam_tokens < symbols_;
    if (!limited_) return;
    order_.resize(size_t(symbols_));
    std::iota(order_.begin(), order_.end(), 0);
    std::stable_sort(order_.begin(), order_.end(),
                     [&](int32_t a, int32_t b) { return frame[a] > frame[b]; });
    tried_.assign(size_t(symbols_), false);
    for (int32_t i = 0; i < options_.beam_tokens; ++i) tried_[size_t(order_[size_t(i)])] = true;
  }

  bool is_tried(int32_t symbol) const { return !limited_ || tried_[size_t(symbol)]; }

  // Add what stays at its trie node: the same symbol (at the root: silence) again, and a blank.
  void stay(const Hypothesis& from, const float* frame) {
    const bool root = from.node == 0;
    if (!from.after_blank || root) {
      const int32_t symbol = root ? options_.silence : from.symbol;
      double score = from.score + frame[symbol];
      if (symbol == options_.silence) score += options_.sil_score;
      add({score, from.acoustic + frame[symbol], from.lm, from.history, from.node, symbol, -1,
           from.parent, false});
    }
    const float blank = frame[options_.blank];
    add({from.score + blank, from.acoustic + blank, from.lm, from.history, from.node,
         options_.blank, -1, from.parent, true});
  }

  // Add what goes a symbol deeper into a word. The score trades the look-ahead of the node it
  // leaves for the child's: inside a word, `lm` counts the best unigram that is still reachable.
  void children(const Hypothesis& from, const float* frame) {
    const float ahead = trie_.best_score[from.node];
    const uint32_t end = trie_.first_child[from.node + 1];
    for (uint32_t child = trie_.first_child[from.node]; child < end; ++child) {
      const int32_t symbol = trie_.symbols[child];
      const bool leaf = trie_.first_child[child] == trie_.first_child[child + 1];
      if (leaf || !is_tried(symbol)) continue;  // a leaf can only end a word: `words`
      if (!from.after_blank && symbol == from.symbol) continue;  // the same symbol lasts: `stay`
      const float lm = trie_.best_score[child] - ahead;
      double score = from.score + frame[symbol];
      if (symbol == options_.silence) score += options_.sil_score;
      score += options_.lm_weight * lm;
      if (bonuses_) score += trie_.best_bonus[child] - trie_.best_bonus[from.node];
      if (score < bound()) continue;
      add({score, from.acoustic + frame[symbol], from.lm + lm, from.history, child, symbol, -1,
           from.parent, false});
    }
  }

  // Add what ends a word with this frame's symbol; an unknown word may end wherever no word does.
  void words(const Hypothesis& from, const float* frame) {
    const uint32_t end = trie_.first_child[from.node + 1];
    const bool may_be_unknown = options_.unk_score > kMinusInfinity;
    for (uint32_t child = trie_.first_child[from.node]; child < end; ++child) {
      const uint32_t last = trie_.first_word[child + 1];
      uint32_t place = trie_.first_word[child];
      const int32_t symbol = trie_.symbols[child];
      if ((place == last && !may_be_unknown) || !is_tried(symbol)) continue;
      double score = from.score + frame[symbol];
      if (symbol == options_.silence) score += options_.sil_score;
      if (place == last) {
        word(from, frame, score, symbol, options_.unknown_word, options_.unk_score);
      } else if (from.node != 0 || from.symbol != symbol) {
        // At the root the same symbol again would say a word of one symbol anew on every frame.
        for (; place < last; ++place)
          word(from, frame, score, symbol, trie_.words[place], options_.word_score);
      }
    }
  }

  // Add one ended word: the look-ahead of its node gives way to the language model's own score.
  void word(const Hypothesis& from, const float* frame, double score, int32_t symbol, int32_t word,
            double insertion) {
    const float ahead = trie_.best_score[from.node];
    if (bonuses_) score += engine_.bonuses[size_t(word)] - trie_.best_bonus[from.node];
    // log p is at most 0: what falls short even with 0 need not ask the language model. A second
    // model with a negative weight may add any amount.
    const double most = double(engine_.phrases.most(word)) - options_.lm_weight * double(ahead);
    if (engine_.second_ratio >= 0 && score + most + insertion < bound()) return;
    const Histories::Said said = histories_.after(from.history, word);
    const float lm = said.score - ahead;
    score = score + options_.lm_weight * lm + insertion + double(said.bonus);
    if (score < bound()) return;
    add({score, from.acoustic + frame[symbol], from.lm + lm, said.history, 0, symbol, word,
         from.parent, false});
  }

  void begin_candidates() {
    candidates_.clear();
    merged_.clear();
    losers_.clear();
    first_loser_.clear();
    best_ = cut_ = kMinusInfinity;
    next_cut_ = kRecut * size_t(options_.beam);
  }

  // The lowest score that can still be kept.
  double bound() const { return std::max(cut_, best_ - options_.beam_threshold); }

  // Take a candidate in, or merge it with the one it is the same as.
  void add(const Hypothesis& candidate) {
    if (!(candidate.score >= bound())) return;
    best_ = std::max(best_, candidate.score);
    const auto fresh = uint32_t(candidates_.size());
    const uint32_t found = merged_.put(key(candidate), fresh);
    if (found == fresh) {
      candidates_.push_back(candidate);
      if (lattice_) first_loser_.push_back(kNone);
      if (candidates_.size() >= next_cut_) raise_bound();
      return;
    }
    const bool better = candidates_[found].score < candidate.score;
    if (lattice_) {
      const Hypothesis& lost = better ? candidates_[found] : candidate;
      losers_.push_back({lost.score, lost.acoustic, lost.lm, lost.parent, lost.word,
                         std::exchange(first_loser_[found], uint32_t(losers_.size()))});
    }
    if (better) candidates_[found] = candidate;
  }

  // What identifies a hypothesis, in 64 bits: history (32), node (31), blank (1). Inside a word the
  // node implies the last symbol; at the root it does not, so root and symbol count as a node.
  uint64_t key(const Hypothesis& h) const {
    const uint32_t node = h.node == 0 ? trie_.nodes() + uint32_t(h.symbol) : h.node;
    return (uint64_t(h.history) << 32) | (uint64_t(node) << 1) | uint64_t(h.after_blank);
  }

  // Set the bound to the beam's last score: `beam` candidates reach it already.
  void raise_bound() {
    scores_.clear();
    for (const Hypothesis& candidate : candidates_) scores_.push_back(candidate.score);
    const auto place = scores_.begin() + options_.beam - 1;
    std::nth_element(scores_.begin(), place, scores_.end(), std::greater<double>());
    cut_ = std::max(cut_, *place);
    next_cut_ = std::max(candidates_.size() + size_t(options_.beam), next_cut_);
  }

  // Make the best candidates the new beam; of equal scores the earlier candidate wins. In the end
  // (`sorted`) they are put in order, and not traced any more.
  void keep(bool sorted = false) {
    const double least = best_ - options_.beam_threshold;
    picked_.clear();
    for (uint32_t i = 0; i < candidates_.size(); ++i)
      if (candidates_[i].score >= least) picked_.push_back(i);
    const auto better = [&](uint32_t a, uint32_t b) {
      const double first = candidates_[a].score, second = candidates_[b].score;
      return first != second ? first > second : a < b;
    };
    const size_t count = std::min(picked_.size(), size_t(options_.beam));
    if (count < picked_.size())
      std::nth_element(picked_.begin(), picked_.begin() + long(count), picked_.end(), better);
    picked_.resize(count);
    if (sorted) std::sort(picked_.begin(), picked_.end(), better);
    beam_.clear();
    for (const uint32_t i : picked_) {
      Hypothesis kept = candidates_[i];
      if (!sorted) {
        ways_.trace.push_back({kept.parent, kept.symbol, kept.word});
        kept.parent = uint32_t(ways_.trace.size() - 1);
        if (options_.lattice)
          ways_.reached.push_back({kept.score, kept.acoustic, kept.lm, kept.node});
        if (lattice_) remember_losers(i, least);
      }
      beam_.push_back(kept);
    }
  }

  // Keep the ways that lost to the candidate at `winner`, which was traced last.
  void remember_losers(uint32_t winner, double least) {
    const Hypothesis& best = candidates_[winner];
    for (uint32_t i = first_loser_[winner]; i != kNone; i = losers_[i].next) {
      const Loser& lost = losers_[i];
      if (lost.score < least) continue;
      ways_.detours.push_back({less(best.score, lost.score), less(best.acoustic, lost.acoustic),
                          less(best.lm, lost.lm), lost.parent, lost.word});
    }
    ways_.first_detour.push_back(ways_.detours.size());
  }

  // End the sentence: for hypotheses between two words where there are any, else for all.
  void finish() {
    begin_candidates();
    const bool whole =
        std::any_of(beam_.begin(), beam_.end(), [](const Hypothesis& h) { return h.node == 0; });
    for (const Hypothesis& from : beam_) {
      if (whole && from.node != 0) continue;
      const float lm = context_.goes_on != 0 ? 0.0f : histories_.end_score(from.history);
      Hypothesis ended = from;
      ended.score += options_.lm_weight * lm;
      if (context_.goes_on == 0) ended.score += double(histories_.end_bonus(from.history));
      ended.lm += lm;
      ended.symbol = options_.silence;
      ended.after_blank = false;
      if (options_.lattice) ways_.ends.push_back({ended.parent, ended.score, ended.lm});
      if (listed_)
        ends_.push_back(ended);  // each is an end of the lattice, whatever the others are
      else
        add(ended);
    }
    if (!listed_) keep(true);
  }

  // Walk back from the best hypotheses: the symbol and the ended word of each frame.
  std::vector<Found> results() const {
    std::vector<Found> found;
    std::unordered_set<uint32_t> said;
    const bool distinct = !(options_.unk_score > kMinusInfinity);
    const auto wanted = size_t(std::max(options_.nbest, context_.exits));
    for (const Hypothesis& hypothesis : beam_) {
      if (distinct && !said.insert(hypothesis.history).second) continue;
      Found result = nothing(hypothesis.score, hypothesis.acoustic, hypothesis.lm);
      uint32_t place = hypothesis.parent;
      for (uint32_t step = steps(); step > 0; place = ways_.trace[place].parent, --step)
        put(result, step, ways_.trace[place].symbol, ways_.trace[place].word);
      result.entry = int32_t(place);
      result.score -= before(place);
      found.push_back(std::move(result));
      if (found.size() == wanted) break;
    }
    return found;
  }

  // The best different sequences of words through the lattice. Ways are walked back from the end,
  // best first. What is left of a way has an exact score, so the first way that reaches the
  // beginning is the best path, the next one with other words the second best, and so on. Of ways
  // that meet after the same words the rest is the same: only the first one goes on.
  std::vector<Found> best_ways() {
    double best = kMinusInfinity;
    for (const Hypothesis& end : ends_) best = std::max(best, end.score);
    for (uint32_t i = 0; i < ends_.size(); ++i) {
      const Hypothesis& end = ends_[i];
      if (end.score >= best - options_.beam_threshold)
        open_.push({end.score, end.acoustic, end.lm, end.parent, 0, i, kNone, steps(), i});
    }
    std::vector<Found> found;
    while (!open_.empty() && found.size() < size_t(options_.nbest)) {
      const Way way = open_.top();
      open_.pop();
      if (reaches_beginning(way)) found.push_back(path(way));
    }
    return found;
  }

  // Walk a way back and put the detours beside it among the ways.
  bool reaches_beginning(const Way& way) {
    uint32_t place = way.place, words = way.words;
    for (uint32_t step = way.steps;; --step) {
      const uint32_t fresh = ++passes_;
      if (passed_.put((uint64_t(place) << 32) | words, fresh) != fresh) return false;
      if (step == 0) return true;
      for (size_t i = ways_.first_detour[place]; i < ways_.first_detour[place + 1]; ++i) {
        const Detour& detour = ways_.detours[i];
        turns_.push_back({step, i, way.turn});
        open_.push({way.score - detour.score, way.acoustic - detour.acoustic, way.lm - detour.lm,
                    detour.parent, extended(words, detour.word), way.end,
                    uint32_t(turns_.size() - 1), step - 1, ends_.size() + turns_.size()});
      }
      words = extended(words, ways_.trace[place].word);
      place = ways_.trace[place].parent;
    }
  }

  // The sequence that has `word` before the words of a sequence; -1 for none.
  uint32_t extended(uint32_t words, int32_t word) {
    if (word < 0) return words;
    const uint32_t found =
        sequences_.put((uint64_t(words) << 32) | uint32_t(word), sequence_count_);
    if (found == sequence_count_) ++sequence_count_;
    return found;
  }

  // The symbols and words of a way that reached the beginning.
  Found path(const Way& way) const {
    Found result = nothing(way.score, way.acoustic, way.lm);
    std::vector<Turn> turns;  // from the first step to the last
    for (uint32_t i = way.turn; i != kNone; i = turns_[i].before) turns.push_back(turns_[i]);
    uint32_t place = ends_[way.end].parent;
    for (uint32_t step = steps(); step > 0; --step) {
      const int32_t symbol = ways_.trace[place].symbol;
      if (!turns.empty() && turns.back().step == step) {
        const Detour& detour = ways_.detours[turns.back().detour];
        put(result, step, symbol, detour.word);
        place = detour.parent;
        turns.pop_back();
      } else {
        put(result, step, symbol, ways_.trace[place].word);
        place = ways_.trace[place].parent;
      }
    }
    result.entry = int32_t(place);
    result.score -= before(place);
    return result;
  }

  uint32_t steps() const { return uint32_t(ways_.times.size() - 1); }

  Found nothing(double score, double acoustic, double lm) const {
    const auto frames = size_t(ways_.times.back());
    return {score, acoustic, lm, 0, std::vector<int32_t>(frames),
            std::vector<int32_t>(frames, -1)};
  }

  // Write the symbol and the ended word of a step into its frames.
  void put(Found& result, uint32_t step, int32_t symbol, int32_t word) const {
    const auto end = size_t(ways_.times[step]);
    for (auto t = size_t(ways_.times[step - 1]); t < end; ++t) result.symbols[t] = symbol;
    result.words[end - 1] = word;
  }

  const Engine& engine_;
  const LexiconTrie& trie_;
  const Options& options_;
  const Context& context_;
  const int32_t symbols_;
  Histories histories_;
  const bool listed_;   // whether results are read from the ways that lost
  const bool lattice_;  // whether the ways that lost are remembered
  Table merged_;
  const bool bonuses_;
  std::vector<Hypothesis> beam_, candidates_;
  Ways ways_;  // the detours only where the ways that lost are remembered
  // Who lost on this frame, and the first of them for each candidate; the ends of the ways.
  std::vector<Loser> losers_;
  std::vector<uint32_t> first_loser_;
  std::vector<Hypothesis> ends_;
  // The walk through it: what is left to walk, the turns taken; which sequence of words has which
  // number (0 has none) and which place was passed after which sequence.
  std::priority_queue<Way> open_;
  std::vector<Turn> turns_;
  Table sequences_{1 << 10}, passed_{1 << 12};
  uint32_t sequence_count_ = 1, passes_ = 0;
  std::vector<double> scores_;
  std::vector<uint32_t> picked_;
  std::vector<int32_t> order_;
  std::vector<bool> tried_;
  bool limited_ = false;
  uint32_t pending_ = 0;          // frames of a stream that are not settled
  double best_ = kMinusInfinity;  // the best candidate of this frame
  double cut_ = kMinusInfinity;   // a score that `beam` candidates of this frame reach
  size_t next_cut_ = 0;
};

}  // namespace

struct Stream::Parts {
  Options options;
  Context context;
  Decoder decoder;
  Parts(const Engine& engine, const Options& how, int32_t symbols)
      : options(how), decoder(engine, options, symbols, context) {}
};

Stream::Stream(const Engine& engine, const Options& options, int32_t symbols)
    : parts_(std::make_unique<Parts>(engine, options, symbols)) {}

Stream::~Stream() = default;

int32_t Stream::advance(const float* emissions, int32_t frames, int32_t behind, int32_t* symbols,
                        int32_t* words) {
  parts_->decoder.advance(emissions, frames);
  return parts_->decoder.settle(uint32_t(behind), symbols, words);
}

void Stream::end_sentence(int32_t* symbols, int32_t* words) {
  parts_->decoder.end_sentence(symbols, words);
}

Result search(const Engine& engine, const Options& options, const float* emissions, int32_t frames,
              int32_t symbols, const Context& context) {
  return Decoder(engine, options, symbols, context).run(emissions, frames);
}

}  // namespace w2v2
