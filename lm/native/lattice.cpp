#include "lattice.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>

namespace w2v2 {
namespace {

constexpr double kMinusInfinity = -std::numeric_limits<double>::infinity();
// Sums of the same scores in another order differ by less.
constexpr double kRounding = 1e-6;

// The best way from a word end to a place, without a word between.
struct Token {
  uint32_t origin;  // a node of the lattice
  double score, acoustic, lm;
};

// What one step adds.
struct Gain {
  double score, acoustic, lm;
  uint32_t parent;
  int32_t word;
};

class Contraction {
 public:
  Contraction(const Ways& ways, const LexiconTrie& trie, int32_t unknown_word, double beam)
      : ways_(ways), trie_(trie), unknown_word_(unknown_word) {
    double best = kMinusInfinity;
    for (const Ending& end : ways.ends) best = std::max(best, end.score);
    limit_ = best - beam - kRounding;
    possible_ = std::isfinite(best);
  }

  WordLattice run(int32_t frames) {
    found_.times = {0};
    entered_ = {0.0};
    if (possible_) {
      look_ahead();
      walk();
    }
    finish(frames);
    trim();
    return std::move(found_);
  }

 private:
  uint32_t beginnings() const {
    return ways_.first_place.size() > 1 ? ways_.first_place[1] : uint32_t(ways_.trace.size());
  }

  // Call `take` with each way of one step into a place.
  template <class Take>
  void each_way(uint32_t place, Take take) const {
    const Step& step = ways_.trace[place];
    const Reached& here = ways_.reached[place];
    const auto gain = [&](uint32_t parent, int32_t word, const Detour& lost) {
      const Reached& before = ways_.reached[parent];
      take(Gain{here.score - before.score - lost.score,
                here.acoustic - before.acoustic - lost.acoustic, here.lm - before.lm - lost.lm,
                parent, word});
    };
    gain(step.parent, step.word, Detour{0.0f, 0.0f, 0.0f, 0, 0});
    for (size_t i = ways_.first_detour[place]; i < ways_.first_detour[place + 1]; ++i)
      gain(ways_.detours[i].parent, ways_.detours[i].word, ways_.detours[i]);
  }

  // The best score from each place to the end.
  void look_ahead() {
    rest_.assign(ways_.trace.size(), kMinusInfinity);
    for (const Ending& end : ways_.ends)
      rest_[end.place] =
          std::max(rest_[end.place], end.score - ways_.reached[end.place].score);
    for (auto place = uint32_t(ways_.trace.size()); place-- > beginnings();) {
      if (!(ways_.reached[place].score + rest_[place] >= limit_)) continue;
      each_way(place, [&](const Gain& gain) {
        rest_[gain.parent] = std::max(rest_[gain.parent], rest_[place] + gain.score);
      });
    }
  }

  // Bring the tokens of every place from those of its parents, and draw the arcs of its words.
  void walk() {
    first_token_.assign(ways_.trace.size() + 1, 0);
    for (uint32_t place = 0; place < beginnings(); ++place) {
      tokens_.push_back({0, ways_.reached[place].score, 0.0, 0.0});
      first_token_[place + 1] = tokens_.size();
    }
    size_t step = 1;
    for (uint32_t place = beginnings(); place < ways_.trace.size(); ++place) {
      while (step + 1 < ways_.first_place.size() && ways_.first_place[step + 1] <= place) ++step;
      if (ways_.reached[place].score + rest_[place] >= limit_) visit(place, ways_.times[step]);
      first_token_[place + 1] = tokens_.size();
    }
  }

  void visit(uint32_t place, int32_t time) {
    const size_t first_token = tokens_.size();
    drawn_.clear();
    each_way(place, [&](const Gain& gain) {
      const uint32_t spelled = gain.word == unknown_word_ ? spelled_by(gain.parent, place) : 0;
      for (size_t i = first_token_[gain.parent]; i < first_token_[gain.parent + 1]; ++i) {
        const Token from = tokens_[i];
        const double score = from.score + gain.score;
        if (!(entered_[from.origin] + score + rest_[place] >= limit_)) continue;
        const double acoustic = from.acoustic + gain.acoustic, lm = from.lm + gain.lm;
        if (gain.word < 0)
          bring({from.origin, score, acoustic, lm}, first_token);
        else
          drawn_.push_back({from.origin, 0, gain.word, spelled, score, acoustic, lm});
      }
    });
    if (drawn_.empty()) return;
    const auto node = uint32_t(found_.times.size());
    found_.times.push_back(time);
    entered_.push_back(kMinusInfinity);
    draw(node);
    tokens_.push_back({node, 0.0, 0.0, 0.0});
  }

  // Of the tokens of one origin at one place keep the better.
  void bring(const Token& token, size_t first_token) {
    if (slots_.size() < found_.times.size()) slots_.resize(found_.times.size() * 2);
    size_t& slot = slots_[token.origin];
    if (slot >= first_token && slot < tokens_.size() && tokens_[slot].origin == token.origin) {
      if (tokens_[slot].score < token.score) tokens_[slot] = token;
    } else {
      slot = tokens_.size();
      tokens_.push_back(token);
    }
  }

  // Put the arcs into `node` among the others: of those that say the same, the best.
  void draw(uint32_t node) {
    const auto said = [](const WordArc& arc) {
      return std::make_tuple(arc.from, arc.word, arc.spelled);
    };
    std::sort(drawn_.begin(), drawn_.end(), [&](const WordArc& a, const WordArc& b) {
      return said(a) != said(b) ? said(a) < said(b) : a.score > b.score;
    });
    for (size_t i = 0; i < drawn_.size(); ++i) {
      if (i > 0 && said(drawn_[i]) == said(drawn_[i - 1])) continue;
      drawn_[i].to = node;
      found_.arcs.push_back(drawn_[i]);
      entered_[node] = std::max(entered_[node], entered_[drawn_[i].from] + drawn_[i].score);
    }
  }

  // The trie node to which the letters of a word lead that ended from `parent` to `place`.
  uint32_t spelled_by(uint32_t parent, uint32_t place) const {
    const uint32_t node = ways_.reached[parent].node;
    for (uint32_t child = trie_.first_child[node]; child < trie_.first_child[node + 1]; ++child)
      if (trie_.symbols[child] == ways_.trace[place].symbol) return child;
    return 0;
  }

  void finish(int32_t frames) {
    const auto last = uint32_t(found_.times.size());
    found_.times.push_back(frames);
    entered_.push_back(kMinusInfinity);
    if (!possible_) return;
    drawn_.clear();
    for (const Ending& end : ways_.ends) {
      const Reached& here = ways_.reached[end.place];
      if (end.score < limit_) continue;
      for (size_t i = first_token_[end.place]; i < first_token_[end.place + 1]; ++i) {
        const Token& from = tokens_[i];
        const double score = from.score + end.score - here.score;
        if (entered_[from.origin] + score >= limit_)
          drawn_.push_back(
              {from.origin, 0, -1, 0, score, from.acoustic, from.lm + end.lm - here.lm});
      }
    }
    draw(last);
  }

  // Drop the nodes that no path passes. Rounding may leave some where the beam cuts.
  void trim() {
    const size_t nodes = found_.times.size();
    std::vector<char> back(nodes, 0), forth(nodes, 0);
    back[nodes - 1] = forth[0] = 1;
    for (size_t i = found_.arcs.size(); i-- > 0;)
      if (back[found_.arcs[i].to]) back[found_.arcs[i].from] = 1;
    for (const WordArc& arc : found_.arcs)
      if (forth[arc.from] && back[arc.to]) forth[arc.to] = 1;
    back[0] = forth[nodes - 1] = 1;
    std::vector<uint32_t> name(nodes, 0);
    std::vector<int32_t> times;
    for (size_t node = 0; node < nodes; ++node) {
      name[node] = uint32_t(times.size());
      if (back[node] && forth[node]) times.push_back(found_.times[node]);
    }
    std::vector<WordArc> arcs;
    for (WordArc arc : found_.arcs) {
      if (!forth[arc.from] || !forth[arc.to] || !back[arc.from] || !back[arc.to]) continue;
      arc.from = name[arc.from];
      arc.to = name[arc.to];
      arcs.push_back(arc);
    }
    found_.times.swap(times);
    found_.arcs.swap(arcs);
  }

  const Ways& ways_;
  const LexiconTrie& trie_;
  const int32_t unknown_word_;
  double limit_;  // the score that a path must reach
  bool possible_;
  WordLattice found_;
  std::vector<double> rest_;         // [places]
  std::vector<double> entered_;      // [nodes], the best score of a path that ends in a node
  std::vector<Token> tokens_;        // by place
  std::vector<size_t> first_token_;  // [places + 1], into tokens_
  std::vector<size_t> slots_;        // [nodes], where its token of the current place stands
  std::vector<WordArc> drawn_;       // arcs into the current place
};

// log(exp(a) + exp(b))
double log_sum(double a, double b) {
  const double high = std::max(a, b);
  return high == kMinusInfinity ? high : high + std::log1p(std::exp(std::min(a, b) - high));
}

}  // namespace

WordLattice word_lattice(const Ways& ways, const LexiconTrie& trie, int32_t unknown_word,
                         int32_t frames, double beam) {
  return Contraction(ways, trie, unknown_word, beam).run(frames);
}

void posteriors(const Arcs& arcs, uint32_t nodes, double scale, double* found) {
  std::vector<double> before(nodes, kMinusInfinity), after(nodes, kMinusInfinity);
  before[0] = after[nodes - 1] = 0.0;
  for (size_t i = 0; i < arcs.count; ++i)
    before[arcs.to[i]] =
        log_sum(before[arcs.to[i]], before[arcs.from[i]] + scale * arcs.scores[i]);
  for (size_t i = arcs.count; i-- > 0;)
    after[arcs.from[i]] =
        log_sum(after[arcs.from[i]], after[arcs.to[i]] + scale * arcs.scores[i]);
  const double all = before[nodes - 1];
  for (size_t i = 0; i < arcs.count; ++i)
    found[i] = all == kMinusInfinity ? 0.0
                                     : std::exp(before[arcs.from[i]] + scale * arcs.scores[i] +
                                                after[arcs.to[i]] - all);
}

}  // namespace w2v2
