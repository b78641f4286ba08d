// One connection of the test server: reads requests, and answers each as its behaviour says. Belongs to its worker's
// thread and lives as long as its task.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "behaviour.h"
#include "dao/http/buffer.h"
#include "dao/http/h1/message_io.h"
#include "dao/http/head.h"
#include "dao/net/socket_stream.h"
#include "dao/rt/cancel.h"
#include "dao/rt/task.h"

namespace dao::fault {

class Worker;

class Connection {
 public:
  // Takes ownership of the accepted `fd`.
  Connection(Worker& worker, int fd);

  static rt::Task<> run(std::unique_ptr<Connection> connection);

  // What is going on is called off; the connection is closed.
  void end() { cancel_.request(); }
  // The same, with a reset.
  void drop();

 private:
  enum class Next : std::uint8_t {
    request,  // the connection can take another one
    close,    // answered: closes
    cut,      // closes in the midst of it, because it was told to
    gone,     // the client is gone, or nothing it sends can be understood
  };

  // What a body is made of: a text, or as many bytes of the pattern.
  struct Source {
    std::string_view text;
    std::uint64_t size = 0;
    bool is_pattern = false;
    // At most `at_most` bytes from `offset`; the pattern gives no more than a block.
    [[nodiscard]] std::span<const char> at(std::uint64_t offset, std::uint64_t at_most) const;
  };

  rt::Task<Next> serve_one();
  rt::Task<Next> read_head();
  rt::Task<Next> answer_internal(std::string_view path, std::string_view query);
  rt::Task<Next> behave(Behaviour behaviour);
  rt::Task<bool> wait_for_service(const Behaviour& behaviour);
  // False: the client is gone. `keep`: takes the first bytes.
  rt::Task<bool> read_body_to_end(std::string* keep);
  rt::Task<bool> send_interims(const Behaviour& behaviour);
  // The head in head_text_ and what comes after it; up to `stop_at` bytes of the body.
  rt::Task<bool> send_body(const Behaviour& behaviour, const Source& source, std::uint64_t stop_at, bool chunked);
  rt::Task<Next> send_echo(const Behaviour& behaviour, bool chunked, bool keep_alive);
  // A plain answer of the server's own.
  rt::Task<Next> send_text(unsigned status, std::string_view type, std::string_view text);
  // Hangs, resets or closes.
  rt::Task<Next> cut(Stage stage, const Behaviour& behaviour);
  rt::Task<bool> write_pieces();
  rt::Task<bool> write_text(std::string_view text);
  // So that an answer given before the request was read is not lost to a reset (RFC 9112 section 9.6).
  rt::Task<> linger();

  void make_head(const Behaviour& behaviour, std::string_view type, http::BodyFraming framing, bool keep_alive);
  [[nodiscard]] std::string inspection(const std::string* body) const;

  Worker& worker_;
  net::SocketStream stream_;
  rt::Cancel cancel_;
  http::Buffer buffer_;
  http::RequestHead head_;
  http::h1::BodyReader body_;
  std::string head_text_;
  std::vector<iovec> pieces_;
  std::uint64_t requests_ = 0;
};

}  // namespace dao::fault
