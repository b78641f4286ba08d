// The keys of session tickets (RFC 5077, RFC 8446 section 4.6.1): made here, held in memory only, replaced by and by.
// Shared by all workers; any thread.
#pragma once

#include <openssl/types.h>

#include <array>
#include <cstddef>
#include <deque>
#include <mutex>
#include <optional>

#include "dao/base/clock.h"

namespace dao::gate {

class TicketKeys {
 public:
  static constexpr std::size_t kNameBytes = 16;
  struct Key {
    std::array<unsigned char, kNameBytes> name;
    std::array<unsigned char, 32> cipher;
    std::array<unsigned char, 32> mac;
    Instant made;
  };

  // A ticket can be read for at least `lifetime` and at most twice as long.
  explicit TicketKeys(Nanoseconds lifetime) : lifetime_(lifetime) {}
  ~TicketKeys();
  TicketKeys(const TicketKeys&) = delete;
  TicketKeys& operator=(const TicketKeys&) = delete;

  // What new tickets are made with; nothing if there is no randomness.
  std::optional<Key> current(Instant now);
  // What a ticket was made with, unless that was too long ago.
  std::optional<Key> find(const unsigned char* name, Instant now);

 private:
  void forget_old(Instant now);
  const Nanoseconds lifetime_;
  std::mutex mutex_;
  std::deque<Key> keys_;  // the newest first
};

}  // namespace dao::gate
