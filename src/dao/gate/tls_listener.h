// The TLS of the listeners of a process: read when a configuration is loaded, and read again when a file changes. Any
// thread.
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
  // `before`: what the listener had until now, or null: its clients can resume their sessions. The error is a sentence
  // for the operator.
  static std::expected<std::shared_ptr<TlsListener>, std::string> make(const config::Listener& listener,
                                                                       const TlsListener* before = nullptr);
  // It was made for the same.
  [[nodiscard]] bool is_for(const config::Listener& listener) const {
    return listener.name == listener_.name && listener.protocols == listener_.protocols &&
           listener.tls == listener_.tls;
  }

  // What a new connection is to use. Hold it until the handshake is over.
  [[nodiscard]] std::shared_ptr<const TlsServer> server() const {
    const std::lock_guard lock(mutex_);
    return server_;
  }

  // Looks at the files. If one has changed, and all are as they were at the last look, they are read again: a
  // certificate and its key are two files, and whoever replaces them is between the two for a moment. If they are no
  // good, and still are after some more looks, what there is stays, and the log says so. True: they were read.
  bool follow_files();

 private:
  TlsListener(const config::Listener& listener, std::shared_ptr<TicketKeys> tickets);
  static constexpr int kFailuresToBelieve = 10;
  // What tells one state of the files from another.
  [[nodiscard]] std::string look_at_files() const;

  const config::Listener listener_;
  std::shared_ptr<TicketKeys> tickets_;
  mutable std::mutex mutex_;  // held for a copy of the pointer
  std::shared_ptr<const TlsServer> server_;
  std::string read_;  // the state of the files that was read
  std::string seen_;  // at the last look
  int failures_ = 0;  // to read that state
};

// The thread that follows the files, ten times a second unless looking takes long.
class TlsFollower {
 public:
  TlsFollower() = default;
  ~TlsFollower();
  TlsFollower(const TlsFollower&) = delete;
  TlsFollower& operator=(const TlsFollower&) = delete;

  // These are followed from now on. One thread.
  void follow(std::vector<std::shared_ptr<TlsListener>> listeners);

 private:
  void run();
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<std::shared_ptr<TlsListener>> listeners_;
  bool ending_ = false;
  std::thread thread_;  // none before there is something to follow
};

}  // namespace dao::gate
