// The TLS of the listeners of a process: read at the start, and read again when a file changes. Any thread.
#pragma once

#include <condition_variable>
#include <expected>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "dao/config/config.h"
#include "dao/gate/tls_server.h"

namespace dao::gate {

class TlsListener {
 public:
  // `listener` outlives it. The error is a sentence for the operator.
  static std::expected<std::unique_ptr<TlsListener>, std::string> make(const config::Listener& listener);

  // What a new connection is to use. Hold it until the handshake is over.
  [[nodiscard]] std::shared_ptr<const TlsServer> server() const {
    const std::lock_guard lock(mutex_);
    return server_;
  }

  // Looks at the files. If one has changed, and all are as they were at the last look, they are read again: a
  // certificate and its key are two files, and whoever replaces them is between the two for a moment. If they are no
  // good, what there is stays, and the log says so. True: they were read.
  bool follow_files();

 private:
  explicit TlsListener(const config::Listener& listener);
  // What tells one state of the files from another.
  [[nodiscard]] std::string look_at_files() const;

  const config::Listener& listener_;
  std::shared_ptr<TicketKeys> tickets_;
  mutable std::mutex mutex_;  // held for a copy of the pointer
  std::shared_ptr<const TlsServer> server_;
  std::string read_;  // the state of the files that was read
  std::string seen_;  // at the last look
};

// All of them, with the thread that follows the files, ten times a second unless looking takes long.
class TlsListeners {
 public:
  TlsListeners() = default;
  ~TlsListeners();
  TlsListeners(const TlsListeners&) = delete;
  TlsListeners& operator=(const TlsListeners&) = delete;

  // `listeners` outlive it.
  std::expected<void, std::string> open(const std::vector<config::Listener>& listeners);
  // Null for a listener without TLS.
  [[nodiscard]] const TlsListener* of(std::size_t listener) const { return listeners_[listener].get(); }

 private:
  void follow();
  std::vector<std::unique_ptr<TlsListener>> listeners_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace dao::gate
