// Who has which number. Everything that outlives a configuration is indexed by numbers: counters, requests in flight,
// presence, pools. An upstream has its number for as long as every configuration has one of the same name and place; a
// rule, of the same name. The number of one that is gone is given to another only after everybody has said that they
// are done with it. One thread.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "dao/config/config.h"

namespace dao::server {

class Roster {
 public:
  // `parties`: how many must release a number before it is used again.
  explicit Roster(std::size_t parties) : parties_(parties) {}

  // Numbers the rules and upstreams of a configuration that is about to be used; keep() or give_up()
  // must follow. False: there are not enough numbers (sense::kMostNumbers), with those that somebody has not released
  // yet, and nothing was done.
  [[nodiscard]] bool number(config::Config& config);
  // These configurations are in use from now on: whoever none of them has leaves.
  struct Leaving {
    std::vector<std::uint32_t> upstreams;
    std::vector<std::uint32_t> rules;
  };
  Leaving keep(std::span<const std::shared_ptr<const config::Config>> configs);
  // The configuration that was numbered last is not used.
  void give_up();

  // One party is done with them: nothing of it refers to the numbers any more, and what it counted for them is cleared.
  void release_upstreams(std::span<const std::uint32_t> numbers);
  void release_rules(std::span<const std::uint32_t> numbers);

  // One more than the highest number that was ever given.
  [[nodiscard]] std::size_t upstreams() const { return upstreams_.size(); }
  [[nodiscard]] std::size_t rules() const { return rules_.size(); }
  // The upstreams that have got their numbers since keep() was called last.
  [[nodiscard]] std::span<const std::uint32_t> added_upstreams() const { return upstreams_.added(); }

 private:
  // The numbers of one kind of thing, by what makes two of them the same.
  class Numbers {
   public:
    // All of these can have one.
    [[nodiscard]] bool suffice(std::span<const std::string> identities) const;
    std::uint32_t of(const std::string& identity);
    std::vector<std::uint32_t> keep(const std::unordered_set<std::uint32_t>& numbers);
    void give_up();
    void release(std::uint32_t number, std::size_t parties);
    [[nodiscard]] std::size_t size() const { return entries_.size(); }
    // Given since the last keep().
    [[nodiscard]] std::span<const std::uint32_t> added() const { return added_; }

   private:
    enum class State : std::uint8_t { free, added, kept, leaving };
    struct Entry {
      std::string identity{};
      State state = State::free;
      std::size_t released = 0;
    };
    std::vector<Entry> entries_;
    std::unordered_map<std::string, std::uint32_t> by_identity_;  // of those that are added or kept
    std::vector<std::uint32_t> added_;
    std::vector<std::uint32_t> free_;
  };

  const std::size_t parties_;
  Numbers upstreams_;
  Numbers rules_;
};

}  // namespace dao::server
