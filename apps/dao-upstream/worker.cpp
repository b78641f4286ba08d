#include "worker.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cmath>
#include <ctime>

#include "connection.h"
#include "dao/base/signals_blocked.h"
#include "dao/base/utc_text.h"

namespace dao::fault {

Worker::Worker(Server& server, const Settings& settings)
    : server_(server),
      settings_(settings),
      first_defaults_(settings.defaults),
      slots_(settings.slots),
      random_(settings.seed) {}

Worker::~Worker() = default;

void Worker::listen(int fd, bool control) {
  auto acceptor = std::make_unique<net::Acceptor>(loop_, fd, control ? accepted_for_control : accepted, this);
  if (control) {
    control_acceptor_ = std::move(acceptor);
  } else {
    acceptors_.push_back(std::move(acceptor));
  }
}

void Worker::start() {
  const SignalsBlocked quiet;
  thread_ = std::thread([this] { loop_.run(); });
}

void Worker::request_stop() {
  loop_.post([this] { stop(); });
}

void Worker::join() {
  if (thread_.joinable()) thread_.join();
}

void Worker::stop() {
  stopping_ = true;
  close_listeners();
  control_acceptor_.reset();
  for (Connection* connection : connections_) connection->end();
  if (connections_.empty()) loop_.stop();
}

void Worker::close_listeners() {
  for (auto& acceptor : acceptors_) acceptor->close();
  acceptors_.clear();
}

void Worker::drop_connections(const Connection* spared) {
  for (Connection* connection : connections_) {
    if (connection != spared) connection->drop();
  }
}

void Worker::connection_ended(Connection& connection) {
  connections_.erase(&connection);
  --stats_.connections_open;
  if (stopping_ && connections_.empty()) loop_.stop();
}

Stats Worker::stats_now() const {
  Stats now = stats_;
  now.busy = slots_.busy();
  now.queued = slots_.queued();
  now.queued_max = slots_.queued_max();
  return now;
}

Nanoseconds Worker::exponential(double mean_ms) {
  // Timers fire at the millisecond after their time, half a millisecond late on average: taken off, so that the mean
  // is what was asked for.
  const double ms = -mean_ms * std::log1p(-random_.unit()) - 0.5;
  return ms > 0 ? Nanoseconds{static_cast<std::int64_t>(ms * 1e6)} : Nanoseconds{0};
}

Nanoseconds Worker::service_time(const Behaviour& behaviour) {
  const double since_start = std::chrono::duration<double, std::milli>(loop_.now() - started_).count();
  const double factor = behaviour.delay_factor * behaviour.cold_factor(since_start);
  Nanoseconds time{static_cast<std::int64_t>(behaviour.delay_ms * factor * 1e6)};
  if (behaviour.delay_exp_ms > 0) time += exponential(behaviour.delay_exp_ms * factor);
  return time;
}

std::string_view Worker::date() {
  const std::time_t second = std::time(nullptr);
  if (second != date_second_) {
    date_second_ = second;
    date_length_ = utc_text(std::chrono::system_clock::from_time_t(second), "%a, %d %b %Y %H:%M:%S GMT", date_);
  }
  return {date_, date_length_};
}

void Worker::accepted(void* worker, int fd, const sockaddr*) {
  auto& self = *static_cast<Worker*>(worker);
  if (self.settings_.defaults.reset == Stage::accept) {
    ++self.stats_.connections_reset_at_accept;
    const linger now{.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(fd);
    return;
  }
  self.serve(fd);
}

void Worker::accepted_for_control(void* worker, int fd, const sockaddr*) {
  static_cast<Worker*>(worker)->serve(fd);
}

void Worker::serve(int fd) {
  auto connection = std::make_unique<Connection>(*this, fd);
  ++stats_.connections;
  ++stats_.connections_open;
  connections_.insert(connection.get());
  loop_.spawn(Connection::run(std::move(connection)));
}

}  // namespace dao::fault
