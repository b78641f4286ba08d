#include "dao/gate/tls_tickets.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>

#include <cstring>

namespace dao::gate {

TicketKeys::~TicketKeys() {
  for (Key& key : keys_) OPENSSL_cleanse(&key, sizeof key);
}

void TicketKeys::forget_old(Instant now) {
  while (!keys_.empty() && now - keys_.back().made >= 2 * lifetime_) {
    OPENSSL_cleanse(&keys_.back(), sizeof(Key));
    keys_.pop_back();
  }
}

std::optional<TicketKeys::Key> TicketKeys::current(Instant now) {
  const std::lock_guard lock(mutex_);
  forget_old(now);
  if (keys_.empty() || now - keys_.front().made >= lifetime_) {
    Key fresh{};
    fresh.made = now;
    if (RAND_bytes(fresh.name.data(), static_cast<int>(fresh.name.size())) != 1 ||
        RAND_priv_bytes(fresh.cipher.data(), static_cast<int>(fresh.cipher.size())) != 1 ||
        RAND_priv_bytes(fresh.mac.data(), static_cast<int>(fresh.mac.size())) != 1) {
      return std::nullopt;
    }
    keys_.push_front(fresh);
  }
  return keys_.front();
}

std::optional<TicketKeys::Key> TicketKeys::find(const unsigned char* name, Instant now) {
  const std::lock_guard lock(mutex_);
  forget_old(now);
  for (const Key& key : keys_) {
    if (std::memcmp(key.name.data(), name, kNameBytes) == 0) return key;
  }
  return std::nullopt;
}

}  // namespace dao::gate
