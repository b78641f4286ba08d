// The in-memory stream keeps a socket's contract (net/stream.h), so that tests over it mean something.
#include "dao/net/memory_stream.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <string>

namespace dao::net {
namespace {

IoResult write(Stream& to, std::string text) {
  const iovec piece{text.data(), text.size()};
  return to.try_write({&piece, 1});
}
std::string read(Stream& from, std::size_t at_most = 100) {
  std::string text(at_most, '\0');
  text.resize(from.try_read(text).bytes);
  return text;
}
IoResult read_result(Stream& from) {
  char byte = 0;
  return from.try_read({&byte, 1});
}

TEST(MemoryStream, WhatOneWritesTheOtherReads) {
  auto [a, b] = MemoryStream::make_pair();
  EXPECT_FALSE(b->may_read());
  EXPECT_TRUE(b->idle_and_open());
  EXPECT_EQ(read_result(*b).status, IoStatus::would_block);
  EXPECT_EQ(write(*a, "hello").bytes, 5U);
  EXPECT_TRUE(b->may_read());
  EXPECT_FALSE(b->idle_and_open());
  EXPECT_EQ(read(*b, 2), "he");
  EXPECT_EQ(read(*b), "llo");
  EXPECT_EQ(read_result(*b).status, IoStatus::would_block);
  EXPECT_EQ(write(*b, "back").bytes, 4U);
  EXPECT_EQ(read(*a), "back");
}

TEST(MemoryStream, TakesManyPiecesAsFarAsTheyFit) {
  auto [a, b] = MemoryStream::make_pair(5);
  std::string first = "abc";
  std::string second = "def";
  const iovec pieces[] = {{first.data(), 3}, {nullptr, 0}, {second.data(), 3}};
  EXPECT_EQ(a->try_write(pieces).bytes, 5U);
  EXPECT_EQ(write(*a, "x").status, IoStatus::would_block);
  EXPECT_EQ(read(*b), "abcde");
  EXPECT_EQ(write(*a, "x").bytes, 1U);
}

TEST(MemoryStream, WakesTheReaderAndTheWriter) {
  rt::VirtualLoop loop;
  auto [a, b] = MemoryStream::make_pair(1);
  auto reader = [](rt::Loop& l, Stream& from, std::string& into) -> rt::Task<> {
    while (into.size() < 3) {
      static_cast<void>(co_await from.wait_readable(l, kNever, nullptr));
      into += read(from);
    }
  };
  auto writer = [](rt::Loop& l, Stream& to) -> rt::Task<> {
    for (const char* text : {"a", "b", "c"}) {
      while (write(to, text).status == IoStatus::would_block)
        static_cast<void>(co_await to.wait_writable(l, kNever, nullptr));
    }
  };
  std::string got;
  loop.spawn(reader(loop, *b, got));
  loop.spawn(writer(loop, *a));
  loop.run();
  EXPECT_EQ(got, "abc");
  EXPECT_EQ(loop.live_tasks(), 0U);
}

TEST(MemoryStream, AClosedSideIsReadToItsEnd) {
  auto [a, b] = MemoryStream::make_pair();
  write(*a, "last");
  a->shutdown_write();
  EXPECT_TRUE(b->peer_closed());
  EXPECT_FALSE(b->peer_gone());
  EXPECT_EQ(read(*b), "last");
  EXPECT_EQ(read_result(*b).status, IoStatus::end);
  EXPECT_EQ(write(*b, "still").bytes, 5U) << "the other direction is open";
  EXPECT_EQ(read(*a), "still");
}

TEST(MemoryStream, ADestroyedSideCannotBeWrittenTo) {
  auto [a, b] = MemoryStream::make_pair();
  write(*a, "last");
  a.reset();
  EXPECT_EQ(read(*b), "last");
  EXPECT_EQ(read_result(*b).status, IoStatus::end);
  EXPECT_EQ(write(*b, "x").sys_errno, EPIPE);
}

TEST(MemoryStream, AResetFailsBothDirections) {
  auto [a, b] = MemoryStream::make_pair();
  write(*a, "lost");
  a->reset();
  EXPECT_TRUE(b->peer_gone());
  EXPECT_EQ(read_result(*b).sys_errno, ECONNRESET);
  EXPECT_EQ(write(*b, "x").sys_errno, ECONNRESET);
}

TEST(MemoryStream, TellsWhoWatchesThePeer) {
  auto [a, b] = MemoryStream::make_pair();
  rt::Cancel only_gone;
  b->watch_peer(&only_gone, false);
  a->shutdown_write();
  EXPECT_FALSE(only_gone.requested()) << "a half-close is no reason";
  rt::Cancel closed_too;
  b->watch_peer(&closed_too, true);
  EXPECT_EQ(closed_too.why(), ErrorKind::closed) << "told at once of what has been";
  b->watch_peer(&only_gone, false);
  a->reset();
  EXPECT_EQ(only_gone.why(), ErrorKind::reset);
  b->watch_peer(nullptr, false);
}

TEST(IoError, NamesWhatAnOperatorKnows) {
  struct Sample {
    int error;
    ErrorKind kind;
  };
  for (const Sample& sample :
       {Sample{ECONNRESET, ErrorKind::reset}, Sample{EPIPE, ErrorKind::reset}, Sample{ECONNREFUSED, ErrorKind::refused},
        Sample{ENOENT, ErrorKind::refused}, Sample{EHOSTUNREACH, ErrorKind::unreachable},
        Sample{ENETUNREACH, ErrorKind::unreachable}, Sample{EIO, ErrorKind::io}}) {
    const Error error = io_error(Origin::backend, sample.error);
    EXPECT_EQ(error.kind, sample.kind) << sample.error;
    EXPECT_EQ(error.sys_errno, sample.error);
    EXPECT_EQ(error.origin, Origin::backend);
  }
}

}  // namespace
}  // namespace dao::net
