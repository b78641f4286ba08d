// How an upstream is, as far as DAO knows (the seed's presence; liminal/presence.h decides it).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace dao::sense {

enum class Presence : std::uint8_t {
  unknown,  // nothing was heard of it yet; it may get traffic
  present,  // well
  liminal,  // between: some of what it is asked fails
  absent,   // not to be asked, but for trials
};
inline constexpr std::size_t kPresenceStates = 4;
inline constexpr std::array<std::string_view, kPresenceStates> kPresenceNames = {"unknown", "present", "liminal",
                                                                                 "absent"};

constexpr std::string_view name_of(Presence state) {
  return kPresenceNames[static_cast<std::size_t>(state)];
}

}  // namespace dao::sense
