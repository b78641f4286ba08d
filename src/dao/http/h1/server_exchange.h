// The HTTP/1 Exchange: one request on a ServerConnection. Internal to http/h1.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "dao/http/h1/server_connection.h"

namespace dao::http::h1 {

class ServerExchange final : public Exchange {
 public:
  ServerExchange(rt::Loop& loop, net::Stream& stream, Buffer& buffer, BufferPool& buffers,
                 const ServerSettings& settings, const RequestHandler& handler, const net::Peer& peer,
                 RequestHead& head, bool reused, Instant started);

  RequestHead& request() override { return head_; }
  [[nodiscard]] const net::Peer& peer() const override { return peer_; }
  [[nodiscard]] const net::TlsFacts* tls() const override { return stream_.tls(); }
  [[nodiscard]] bool reused_connection() const override { return reused_; }
  [[nodiscard]] Instant started() const override { return started_; }
  Result<BodyPiece> take_buffered_body() override;
  rt::Task<Result<BodyPiece>> read_body(rt::Cancel* cancel, Nanoseconds grace) override;
  [[nodiscard]] bool body_read_to_end() const override { return body_.ended(); }
  [[nodiscard]] std::span<const Field> request_trailers() const override { return body_.trailers(); }
  [[nodiscard]] std::uint64_t request_body_bytes() const override { return body_.bytes(); }
  void watch_client(rt::Cancel* cancel) override { stream_.watch_peer(cancel, body_.ended()); }
  rt::Task<Result<>> send_interim(const ResponseHead& head) override;
  rt::Task<Result<>> send_head(ResponseHead& head, BodyFraming framing, BodyPiece first) override;
  rt::Task<Result<>> send_body(BodyPiece piece, std::span<const Field> trailers) override;
  [[nodiscard]] bool head_sent() const override { return head_sent_; }
  [[nodiscard]] std::uint64_t response_body_bytes() const override { return sent_bytes_; }
  rt::Task<Result<UpgradedStream>> upgrade(ResponseHead& head) override;
  void abort() override { aborted_ = true; }
  void close_after() override { keep_alive_ = false; }

  // For the connection, when the handler is done.
  void release_body() { body_.release_piece(); }
  [[nodiscard]] bool aborted() const { return aborted_ || !finished_; }
  [[nodiscard]] bool abort_needs_reset() const { return out_framing_.kind == BodyFraming::Kind::until_close; }
  [[nodiscard]] bool keep_alive() const { return keep_alive_; }
  // HTTP is over on this connection.
  [[nodiscard]] bool upgraded() const { return upgraded_; }
  void body_is_unreadable() { body_broken_ = true; }  // the request was refused: what follows cannot be understood
  // What is left of a body that is small enough to be read and thrown away, so that the connection can go on.
  [[nodiscard]] bool rest_of_body_is_small() const;

 private:
  // Nothing is read after this answer: ServerConnection closes right behind it.
  [[nodiscard]] bool closes_at_once() const { return !keep_alive_ && body_.ended() && !body_broken_; }
  BodyFraming frame_for_client(const ResponseHead& head, BodyFraming framing);
  void add_body_pieces(BodyPiece piece, std::span<const Field> trailers, Pieces& pieces);

  rt::Loop& loop_;
  net::Stream& stream_;
  Buffer& buffer_;
  BufferPool& buffers_;
  const ServerSettings& settings_;
  const RequestHandler& handler_;
  const net::Peer& peer_;
  RequestHead& head_;
  BodyReader body_;
  ChunkedEncoder chunks_;
  Instant started_;
  Nanoseconds waited_for_body_{};
  std::uint64_t sent_bytes_ = 0;
  BodyFraming out_framing_;
  bool reused_;
  bool keep_alive_;
  bool head_sent_ = false;
  bool finished_ = false;  // the last byte of the answer was handed over
  bool aborted_ = false;
  bool body_broken_ = false;
  bool upgraded_ = false;
};

}  // namespace dao::http::h1
